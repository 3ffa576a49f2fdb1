/* answers.c - from a file of answers to bits in base64, and back. */
#include "answers.h"
#include "files.h"
#include "runtime.h"

#include <stdio.h>
#include <string.h>

enum { MOST_FILE = 1 << 30 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t bytes_of(int64_t rows)
{
    return ((size_t)rows + 7) / 8;
}

static const char *base64(const unsigned char *from, size_t n)
{
    char *text = xalloc((n + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; i < n; i += 3) {
        const unsigned b = i + 1 < n ? from[i + 1] : 0, c = i + 2 < n ? from[i + 2] : 0;
        *to++ = digits[from[i] >> 2];
        *to++ = digits[(from[i] & 3u) << 4 | b >> 4];
        *to++ = i + 1 < n ? digits[(b & 15) << 2 | c >> 6] : '=';
        *to++ = i + 2 < n ? digits[c & 63] : '=';
    }
    *to = '\0';
    return text;
}

const char *answers_of_file(const char *path, int64_t rows)
{
    size_t len;
    const char *text = file_read(path, MOST_FILE, &len), *line = text ? strchr(text, '\n') : NULL;
    unsigned char *bits = xalloc(bytes_of(rows) + 1);
    int64_t n = 0;
    memset(bits, 0, bytes_of(rows));
    for (; line && line[1] && n < rows; n++) {
        int row, class, answer;
        if (sscanf(line + 1, "%d,%d,%d", &row, &class, &answer) != 3)
            break;
        if (class == answer)
            bits[n / 8] |= (unsigned char)(1 << n % 8);
        line = strchr(line + 1, '\n');
    }
    if (n == rows && line && !line[1])
        return base64(bits, bytes_of(rows));
    cvy_error(NULL, "'%s' does not hold the answers of %lld rows", path, (long long)rows);
    return NULL;
}

/* The value of four digits, of which the last two may be '='; -1: no such digits. */
static long four(const char *at, int *bytes)
{
    long v = 0;
    *bytes = at[3] != '=' ? 3 : at[2] != '=' ? 2 : 1;
    for (int k = 0; k < 4; k++) {
        const char *digit = k <= *bytes ? strchr(digits, at[k]) : digits;
        if (!digit || !*digit || (k > *bytes && at[k] != '='))
            return -1;
        v = v << 6 | (digit - digits);
    }
    return v;
}

bool answers_read(const char *text, int64_t rows, unsigned char *right)
{
    const size_t n = bytes_of(rows), len = strlen(text);
    int64_t row = 0;
    if (len != (n + 2) / 3 * 4)
        return false;
    for (size_t i = 0; i < len; i += 4) {
        int bytes;
        const long v = four(text + i, &bytes);
        if (v < 0 || (size_t)bytes != (n - i / 4 * 3 < 3 ? n - i / 4 * 3 : 3) || (v & ((1L << 8 * (3 - bytes)) - 1)))
            return false;
        for (int bit = 0; bit < 8 * bytes; bit++, row++) {
            const unsigned set = (unsigned)(v >> (16 - 8 * (bit / 8) + bit % 8)) & 1;
            if (row >= rows && set)
                return false;
            if (row < rows)
                right[row] = (unsigned char)set;
        }
    }
    return row >= rows;
}
