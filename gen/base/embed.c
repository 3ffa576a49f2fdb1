/* embed.c - a build tool: turns every .c and .h file (and .css, .tpl, .mk, .md) of some folders into one C file of
 * strings.
 *
 *   embed ROOT OUT.c OUT.d FOLDER...
 *
 * OUT.d is a dependency file that names the folders too, so that a new file is seen. Names are sorted: same files, same
 * bytes. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *names[4096];
static size_t nnames;

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "embed: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 2;
    char *s = malloc(n);
    if (!s)
        die("no memory for", b);
    snprintf(s, n, "%s/%s", a, b);
    return s;
}

static int wanted(const char *name)
{
    static const char *const ends[] = {".c", ".h", ".css", ".tpl", ".mk", ".md"};
    const char *dot = strrchr(name, '.');
    if (name[0] == '.' || !dot)
        return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(dot, ends[i]) == 0)
            return 1;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void scan(const char *root, const char *folder)
{
    char *path = join(root, folder);
    DIR *d = opendir(path);
    if (!d)
        die("cannot open", path);
    for (struct dirent *e; (e = readdir(d));) {
        if (!wanted(e->d_name))
            continue;
        if (nnames == sizeof names / sizeof *names) {
            fprintf(stderr, "embed: too many files\n");
            exit(1);
        }
        names[nnames++] = join(folder, e->d_name);
    }
    closedir(d);
    free(path);
}

/* Writes one file as a string literal, a line of it a line. Returns its length. */
static size_t put_text(FILE *out, const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        die("cannot open", path);
    size_t n = 0;
    int c;
    fputs("    \"", out);
    while ((c = getc(in)) != EOF) {
        n++;
        if (c == '\n')
            fputs("\\n\"\n    \"", out);
        else if (c == '"' || c == '\\' || c == '?') /* ? : no trigraphs */
            fprintf(out, "\\%c", c);
        else if (c < 32 || c > 126)
            fprintf(out, "\\%03o", (unsigned)c);
        else
            putc(c, out);
    }
    fputs("\"", out);
    if (ferror(in))
        die("cannot read", path);
    fclose(in);
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: embed ROOT OUT.c OUT.d FOLDER...\n");
        return 2;
    }
    const char *root = argv[1];
    for (int i = 4; i < argc; i++)
        scan(root, argv[i]);
    qsort(names, nnames, sizeof *names, by_name);

    FILE *out = fopen(argv[2], "wb");
    if (!out)
        die("cannot write", argv[2]);
    FILE *dep = fopen(argv[3], "wb");
    if (!dep)
        die("cannot write", argv[3]);
    fprintf(dep, "%s:", argv[2]);
    for (int i = 4; i < argc; i++)
        fprintf(dep, " %s/%s", root, argv[i]);
    fprintf(out, "/* Written by embed.c; do not edit. */\n#include \"embedded.h\"\n");
    size_t *len = calloc(nnames + 1, sizeof *len);
    if (!len)
        die("no memory for", "the list");
    for (size_t i = 0; i < nnames; i++) {
        char *path = join(root, names[i]);
        fprintf(dep, " %s", path);
        fprintf(out, "\n/* %s */\nstatic const char text_%zu[] =\n", names[i], i);
        len[i] = put_text(out, path);
        fprintf(out, ";\n");
        free(path);
    }
    fprintf(out, "\nconst struct Embedded embedded[] = {\n");
    for (size_t i = 0; i < nnames; i++)
        fprintf(out, "    {\"%s\", text_%zu, %zu},\n", names[i], i, len[i]);
    fprintf(out, "    {0, 0, 0},\n};\nconst size_t nembedded = %zu;\n", nnames);
    fprintf(dep, "\n");
    if (fclose(out) || fclose(dep))
        die("cannot write", argv[2]);
    return 0;
}
