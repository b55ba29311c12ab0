#pragma once

int islower(int c);
int tolower(int c);
