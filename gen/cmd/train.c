/* train.c - `convoy train`: makes the network's program, becomes it. */
#include "commands.h"
#include "places.h"
#include "emit.h"
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether the program will find its data: better said now than after compiling. What the files hold is for the program
 * to judge. */
static bool data_is_there(const char *data, const char *said)
{
    const char *folder;
    uint64_t seed;
    const enum cvy_where where = cvy_data_where(data, said, &seed, &folder);
    bool there = where != CVY_NOWHERE;

    for (int i = 0; i < 4 && where == CVY_FOLDER && there; i++) {
        char *path = cvy_data_file(folder, i < 2 ? CVY_TRAIN_SPLIT : CVY_TEST_SPLIT, i % 2 == 0);
        there = path != NULL;
        free(path);
    }
    return there;
}

/* The set that --data becomes, where it is none yet; and whether it fits the spec. An exit status. */
static int find_data(const Options *o, const Spec *s, const struct cvy_said *said, const char **data)
{
    const struct cvy_model like = {.name = s->name,
                                   .channels = s->input[0],
                                   .height = s->input[1],
                                   .width = s->input[2],
                                   .tokens = s->tokens,
                                   .lengths = s->lengths,
                                   .classes = s->classes,
                                   .train.loss = s->train.loss};
    int want[3], rows;

    *data = said->data;
    image_want(s->input[0], s->input[1], s->dims == 2 ? s->input[2] : 0, want);
    if (!said->data && o->nimport) {
        fprintf(stderr, "convoy: %s is of an import: --data SRC names what to import\n", o->import[0]);
        return EXIT_USAGE;
    }
    const int status = said->data ? import_once(o, s->name, said->data, want, said->quiet, data) : EXIT_OK;
    if (status != EXIT_OK)
        return status;
    if (!data_is_there(s->train.data, *data))
        return EXIT_FAILED;
    return !*data || !set_is(*data) || cvy_set_load(NULL, &like, *data, CVY_TRAIN_SPLIT, 0, &rows) ? EXIT_OK
                                                                                                   : EXIT_FAILED;
}

/* Whether a batch norm of an op has a single value where a batch is one image; *place: where it stands inside a step.
 */
static bool sees_one(const Graph *g, const Op *op, CellPlace *place)
{
    for (*place = PLACE_INPUT; *place < PLACES && !op->frozen; ++*place) {
        const PlaceNorm *n = op_place(op->kind, op->arg, *place);
        if (place_is_bn(n) && (n->step || g->op[op->in].shape.w == 1))
            return true;
    }
    *place = PLACE_NONE;
    return op_is_batch_norm(op->kind) && !op_is_still(op) && op->shape.h * op->shape.w == 1;
}

/* Whether --batch gives every norm more than one value; the spec's own batch was looked at with its shapes. */
static bool batch_fits(const Plan *p, int batch)
{
    const Op *op = p->g->op;
    CellPlace place = PLACE_NONE;

    if (!batch || batch >= p->min_batch)
        return true;
    while (!sees_one(p->g, op, &place))
        op++;
    const char *hint = xprintf("--batch %d, or more", p->min_batch);
    if (place)
        diag_error(op->mark, hint,
                   "--batch %d: the norm in '%s' of %s has a single value of each number in a step then", batch,
                   place_info[place].name, op->path);
    else
        diag_error(op->mark, hint, "--batch %d: %s has a single value per channel then, as its image is 1 x 1", batch,
                   op->path);
    diag_flush(stderr);
    return false;
}

/* The program's options over the spec's settings (NULL: over none), by the program's own table: 1, 0 with an error, or
 * -1 where it is asked for help. *batch: --batch, 0 where it was not given. */
static int read_rest(const Options *o, const SpecTrain *spec, struct cvy_said *said, int *batch)
{
    struct cvy_progress p = {0};
    struct cvy_option option[CVY_TRAIN_OPTIONS];

    *said = (struct cvy_said){.schedule = cvy_schedules[spec ? spec->schedule : CVY_CONSTANT].name};
    const struct cvy_optimiser *optimiser = spec ? spec->optimiser : NULL; /* NULL: the options of all */
    if (spec)
        memcpy(p.hyper, spec->hyper, sizeof p.hyper);
    cvy_train_options(said, &p, optimiser, option);
    const int parsed = cvy_options_parse(o->nrest, o->rest, 0, "train", option);
    *batch = p.batch;
    return spec && parsed > 0 ? cvy_train_fits(said, &p, optimiser) : parsed;
}

int cmd_train(const Options *o)
{
    int status, batch;
    struct cvy_said said;
    const int parsed = read_rest(o, NULL, &said, &batch);
    if (parsed == 0)
        return EXIT_USAGE;
    Plan *p = load_plan(o, o->target ? o->target : "native", false, &status);

    if (!p)
        return status;
    if (read_rest(o, &p->g->spec->train, &said, &batch) == 0 || !batch_fits(p, batch))
        return EXIT_FAILED;
    const char *data = NULL;
    if (parsed > 0) /* not where it is asked for help alone */
        status = find_data(o, p->g->spec, &said, &data);
    if (parsed > 0 && status != EXIT_OK)
        return status;
    int lock; /* closed by exec */
    const char *program = build_program(o, p, NULL, &lock);
    if (!program)
        return EXIT_FAILED;

    char **argv = xalloc((size_t)(o->nrest + 5) * sizeof *argv);
    argv[0] = xstrdup(program);
    argv[1] = xstrdup("train");
    for (int i = 0; i < o->nrest; i++)
        argv[2 + i] = o->rest[i];
    if (data != said.data) { /* the last one counts */
        argv[2 + o->nrest] = xstrdup("--data");
        argv[3 + o->nrest] = xstrdup(data);
    }
    fflush(stdout);
    execv(argv[0], argv);
    fprintf(stderr, "convoy: cannot run %s: %s\n", argv[0], strerror(errno));
    return EXIT_FAILED;
}
