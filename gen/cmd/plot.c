/* plot.c - `convoy plot`: the curves of trainings, out of their logs. */
#include "commands.h"
#include "curves.h"
#include "files.h"

int cmd_plot(const Options *o)
{
    Buf svg = {0}, page = {0};
    const char **path = NULL;
    int n = 0;

    *PUSH(path, n) = o->spec;
    for (int i = 0; i < o->nword; i++)
        *PUSH(path, n) = o->word[i];
    const Curves *c = curves_read(path, n);
    if (!c)
        return EXIT_FAILED;
    curves_svg(c, &svg);
    curves_html(c, &page);
    if (o->html && !file_write(o->html, page.text, page.len))
        return EXIT_FAILED;
    if (prints(o) && (o->out || !o->html))
        return fwrite(svg.text, 1, svg.len, stdout) == svg.len ? EXIT_OK : EXIT_FAILED;
    if (o->out && !file_write(o->out, svg.text, svg.len))
        return EXIT_FAILED;
    printf("wrote %s%s%s\n", o->out ? o->out : "", o->out && o->html ? " and " : "", o->html ? o->html : "");
    return EXIT_OK;
}
