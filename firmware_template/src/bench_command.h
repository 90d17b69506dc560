/* The command interpreter. */
#ifndef BENCH_COMMAND_H
#define BENCH_COMMAND_H

#include "bench_console.h"

/* Answer one command; text is cut up. The caller sends m-ready. */
void command_execute(char *text, command_state_t state);

#endif
