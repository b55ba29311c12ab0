# The Content-Security-Policy of page.html, as a header: the hashes of its one style and its one script, and nothing else is allowed.
#
# cmake -D PAGE=page.html -D HEADER=page_policy.h -P page_policy.cmake

# The text between the only <tag> and the only </tag>.
function(read_element out page tag)
	string(REGEX MATCHALL "<${tag}[ >]" openings "${page}")
	list(LENGTH openings count)
	string(FIND "${page}" "<${tag}>" begin)
	string(FIND "${page}" "</${tag}>" end)
	if(NOT count EQUAL 1 OR begin LESS 0 OR end LESS begin)
		message(FATAL_ERROR "${PAGE}: expected one <${tag}> without attributes, and its end")
	endif()
	string(LENGTH "<${tag}>" skipped)
	math(EXPR begin "${begin} + ${skipped}")
	math(EXPR length "${end} - ${begin}")
	string(SUBSTRING "${page}" ${begin} ${length} text)
	set(${out} "${text}" PARENT_SCOPE)
endfunction()

# CMake hashes to hexadecimal, browsers want base64: 6 digits become 4 letters, and of the 64 digits of a SHA-256 4 are left.
function(hash out text)
	set(letters ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
	string(SHA256 digits "${text}")
	set(encoded)
	foreach(at RANGE 0 60 6)
		string(SUBSTRING "${digits}00" ${at} 6 six)
		foreach(shift 18 12 6 0)
			math(EXPR letter "(0x${six} >> ${shift}) & 63")
			string(SUBSTRING ${letters} ${letter} 1 letter)
			string(APPEND encoded ${letter})
		endforeach()
	endforeach()
	string(SUBSTRING ${encoded} 0 43 encoded)
	set(${out} "'sha256-${encoded}='" PARENT_SCOPE)
endfunction()

file(READ ${PAGE} page)
read_element(style "${page}" style)
read_element(script "${page}" script)
hash(style_hash "${style}")
hash(script_hash "${script}")
file(WRITE ${HEADER} "/* Made from page.html by page_policy.cmake. */
#define PAGE_POLICY \\
	\"default-src 'none'; script-src ${script_hash}; \" \\
	\"style-src ${style_hash}; connect-src 'self'; img-src data:; \" \\
	\"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\"
")
