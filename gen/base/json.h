/* json.h - a JSON value as text on a stream. */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Prints a value and a line's end, and drops it. flags: json_dumps'. False where memory does not suffice, be it for the
 * value, which is NULL then. */
bool json_print(json_t *value, size_t flags, FILE *to);

#endif
