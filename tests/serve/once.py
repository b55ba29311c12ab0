"""once.py URL [KEY]: the server there is well, and completes a text."""

import json
import sys
import urllib.request

url = sys.argv[1]
assert json.load(urllib.request.urlopen(url + "health", timeout=60)) == {"status": "ok"}
body = json.dumps({"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0}).encode()
headers = {"Content-Type": "application/json"} | {"Authorization": "Bearer " + key for key in sys.argv[2:]}
request = urllib.request.Request(url + "v1/completions", body, headers)
answer = json.load(urllib.request.urlopen(request, timeout=60))
assert answer["usage"]["completion_tokens"] == 16 and len(answer["choices"][0]["text"]) > 20, answer
