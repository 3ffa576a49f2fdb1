/* twin.c - convoy twin SPEC: the network as a PyTorch module. */
#include "twin.h"
#include "files.h"
#include "commands.h"

int cmd_twin(const Options *o)
{
    int status;
    if (dumps_plan(o, &status))
        return status;
    const Graph *g = load_graph(o, &status);
    if (!g)
        return status;
    Buf b = {0};
    twin_write(g, &b);
    if (prints(o))
        return fwrite(b.text, 1, b.len, stdout) == b.len ? EXIT_OK : EXIT_FAILED; /* main reports what did not arrive */
    if (!file_write(o->out, b.text, b.len))
        return EXIT_FAILED;
    printf("wrote %s\n", o->out);
    return EXIT_OK;
}
