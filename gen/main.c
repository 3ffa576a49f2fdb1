/* main.c - the table of contents: the commands. gen/plan/plan.c lists the passes of a plan, gen/cmd/load.c those before
 * it. */
#include "commands.h"
#include "read.h"
#include "runtime.h"
#include "term.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define OPT_SPEC (OPT_SET | OPT_DUMP)

static const char set_help[] =
    "  --set KEY=VALUE   as if it stood in SPEC: --set train.lr=0.05, --set conv3.order=conv-act-bn\n";
static const char dump_help[] =
    "  -d, --dump PASS   print what a pass made of the spec, and stop: yaml, spec, graph, plan\n";
static const char colour_help[] =
    "  --color WHEN      colours in messages: auto (default: on a terminal), always, never\n";

static const Command commands[] = {
    {"new", "NAME [--data SRC | --preset PRESET] [-o FILE]", "write a spec to start from",
     "Writes NAME.yaml (or FILE), a small commented network for 28 x 28 images that trains as it is, or one that fits "
     "your data.\n"
     "Refuses to overwrite.\n"
     "  --data SRC        a network for these: a set of 'convoy data', or images, arrays or a table, which become one\n"
     "  --preset PRESET   with the blocks of a library or a paper: 'convoy presets' lists them\n"
     "Next: convoy check NAME.yaml, convoy train NAME.yaml\n",
     OPT_OUT | OPT_PRESET | OPT_FROM | OPT_IMPORT, 0, "NAME", cmd_new, 1},
    {"presets", "[NAME]", "list the presets: blocks as libraries and papers have them",
     "Prints a line for each preset, or what the one called NAME stands for. Without spec or option.\n", OPT_NO_WORD, 0,
     "NAME", cmd_presets, 1},
    {"schema", "[-o FILE]", "print the spec's language as a JSON schema, for editors",
     "Prints a JSON schema (draft-07), by which editors complete and check specs.\n"
     "With yaml-language-server: # yaml-language-server: $schema=spec.schema.json as a spec's first line.\n",
     OPT_NO_WORD | OPT_OUT, 0, NULL, cmd_schema, 1},
    {"check", "SPEC [--write [-o FILE]] [--json] [--set KEY=VALUE]",
     "validate a spec; print layers, shapes, parameters, costs",
     "Reads SPEC and says what is wrong with it, line by line; or prints its layers with shapes, parameters and "
     "FLOPs.\n"
     "  --write           print the spec with all names and defaults filled in (with -o, to FILE)\n"
     "  --json            print what check prints as JSON\n",
     OPT_SPEC | OPT_WRITE | OPT_JSON | OPT_OUT, 0, "SPEC", cmd_check, 1},
    {"gen", "SPEC -o DIR [--target T] [--parts P] [--for F] [--fold F] [--set KEY=VALUE] [-d PASS]",
     "emit the network's C",
     "Writes the network as C into DIR: forward, backward and update, unrolled for its shapes; a Makefile; the "
     "runtime.\n"
     "Then: make -C DIR, DIR/NAME train. A folder that convoy wrote is brought up to date, any other must be empty.\n"
     "  --target T        native (default: what this machine has), avx512, avx2, neon, portable (strict C99)\n"
     "  --parts P         infer, train or all (default)\n"
     "  --for F           speed (default); size: loops instead of unrolled tiles, as with unroll=none, for small "
     "memories;\n"
     "                    reading: plain loops over plain arrays, a function an op and direction, the formula above "
     "each (target portable)\n"
     "  --fold F          on (default) or off: at inference every norm is a multiply-add of its own\n"
     "  -q                print nothing where all is well\n"
     "  --depfile F       write into F, for make, what DIR/.convoy-manifest was made from; every run writes that file "
     "anew\n",
     OPT_SPEC | OPT_OUT | OPT_TARGET | OPT_PARTS | OPT_FOR | OPT_FOLD | OPT_QUIET | OPT_DEPFILE, 0, "SPEC", cmd_gen, 1},
    {"train", "SPEC [--data SRC] [-o DIR] [--target T] [--set KEY=VALUE] [OPTIONS OF THE PROGRAM OR OF THE IMPORT]",
     "emit, compile and train, in one step",
     "Emits the network into a build folder, compiles it with make, and runs its 'train' where you are.\n"
     "  --data SRC        where it is no set yet: a folder of images, arrays or a table, made into one beside the "
     "build "
     "folder (build-NAME.data.safetensors),\n"
     "                    and again where files or options changed\n"
     "  -o DIR            the build folder (default: build-NAME here, NAME as in SPEC); kept, so that next time is "
     "faster\n"
     "  --target T        native (default: what this machine has), avx512, avx2, neon, portable (strict C99)\n"
     "  -- --help         the program's own help, with this network's defaults; all after -- is the program's\n"
     "CC and CFLAGS in the environment are honoured.\n",
     OPT_SPEC | OPT_OUT | OPT_TARGET | OPT_REST | OPT_IMPORT, 0, "SPEC", cmd_train, 1},
    {"predict", "SPEC [--weights W] FILE... [--json] [-o DIR] [--target T] [--force] [--set KEY=VALUE]",
     "say of images, or rows of a table, which class they are of",
     "Reads PNG and JPEG files as 'convoy data' read those that the weights were trained with, to the bit, or the rows "
     "of a\n"
     "table by the names of their columns, and prints for each the five most probable classes with their "
     "probabilities, or\nthe numbers that the network learnt. The network's program is compiled first, as 'train' "
     "does "
     "it.\n"
     "  --weights W       a checkpoint that 'train' wrote (default: NAME.safetensors here, NAME as in SPEC)\n"
     "  --json            all classes' logits and probabilities, as JSON\n"
     "  -o DIR            the build folder (default: build-NAME here), as of 'train'\n"
     "  --target T        native (default: what this machine has), avx512, avx2, neon, portable (strict C99)\n"
     "  --force           take weights that were trained as another network\n",
     OPT_SPEC | OPT_OUT | OPT_TARGET | OPT_WEIGHTS | OPT_JSON | OPT_FORCE | OPT_WORDS, 0, "SPEC", cmd_predict, 1},
    {"plot", "LOG... [-o FILE.svg] [--html FILE]", "draw the curves of trainings",
     "Reads what 'NAME train --log LOG' wrote, of one training or of several, and draws loss, accuracy and learning "
     "rate "
     "by epoch.\n"
     "  -o FILE.svg       the picture (default: printed)\n"
     "  --html FILE       a page with the picture, best accuracies and settings, that needs nothing else\n",
     OPT_OUT | OPT_HTML | OPT_WORDS, 0, "LOG", cmd_plot, 1},
    {"data", "SRC [-o FILE.safetensors] [--html FILE] [--json] [OPTIONS], or [SRC] --show-batch SPEC [-o FILE.npy]",
     "make a set of images, arrays or a table: one file to train from",
     "Reads SRC, says what it found and what it did with it, and writes a set: rows to train with, to choose by and to "
     "test, with their classes and names, and mean and sd of each channel. Nothing in SRC is changed.\n"
     "  SRC               a folder with a folder of PNG and JPEG files for each class (train/, valid/, test/ may stand "
     "above "
     "them)\n"
     "  -o FILE           the set (default: SRC's name here, .safetensors)\n"
     "  --html FILE       a page of what was found, with pictures, that needs nothing else\n"
     "  --json            what was found, for programs\n"
     "  -q                print nothing where all is well\n"
     "With --show-batch SPEC it writes no set, but a picture of what a training of SPEC sees (--sheet FILE, default "
     "NAME-batch.png); -o FILE.npy gets the numbers that the network reads; --set changes SPEC.\n",
     OPT_DATA | OPT_OUT | OPT_HTML | OPT_JSON | OPT_QUIET | OPT_SET | OPT_NO_WORD, 0, "SRC", cmd_data, 1},
    {"plan",
     "SPEC [--why LAYER [--worked [--channel N] [--weights W [--force]]]] [--json] [--target T] [--for F] [--set "
     "KEY=VALUE]",
     "show what is fused with what, what is stored, and why",
     "Prints the kernels that the network becomes, the stages in each, and what is kept for the backward pass.\n"
     "  --why LAYER       what became of this layer, stage by stage, with the reasons; also of a stage (conv2.bn) or a "
     "group (s2.1)\n"
     "  --json            the plan, or that, as JSON\n"
     "  --worked          follow a channel (--channel N, 0) of its norm through folding, with numbers: the first "
     "draw's, or the checkpoint W's\n"
     "  --for F           of the code for speed (default), size, or reading: every op stored, nothing fused\n",
     OPT_SPEC | OPT_FOR | OPT_WHY | OPT_JSON | OPT_WORKED | OPT_WEIGHTS | OPT_FORCE | OPT_TARGET, 0, "SPEC", cmd_plan,
     1},
    {"diff",
     "A [B] [--set KEY=VALUE] [--order O [--order P]] [--fold off,on] [--level L,...] [--stat] [--json | --html FILE] "
     "[--compile] [--measure]",
     "show what differs between two networks, or one under two settings",
     "A and B are specs, or folders that convoy wrote. With one spec, the other side is the same under other "
     "settings:\n"
     "--set, as below, or\n"
     "  --order O         another order (given twice: one against the other)\n"
     "  --fold off,on     at inference, norms as multiply-adds, and folded into weights\n"
     "With two specs, --set holds for both.\n"
     "  --level L,...     spec, graph, plan, infer, cost, c (alone, c is a unified diff)\n"
     "  --stat            a line per level, and a line per file\n"
     "  --json            for programs\n"
     "  --html FILE       one page, side by side, that needs nothing else\n"
     "  --compile         compile both, too: object sizes\n"
     "  --measure         and run both, in turn: processor time a training step\n"
     "  --target T        native (default: what this machine has), avx512, avx2, portable\n"
     "Exit status: 0 the same, 1 different, 2 trouble.\n",
     OPT_SET | OPT_SPEC2 | OPT_ORDER | OPT_FOLD | OPT_LEVEL | OPT_JSON | OPT_HTML | OPT_COMPILE | OPT_TARGET, 0, "A",
     cmd_diff, 2},
    {"draw", "SPEC [-o FILE] [--diff SPEC2] [--all] [--target T] [--set KEY=VALUE]",
     "draw the plan: kernels, stages, what is stored (SVG)",
     "Prints an SVG (with -o, writes it): every kernel a box around its stages, every stored tensor with its bytes.\n"
     "  --diff SPEC2      SPEC and SPEC2 side by side; what is gone, came, moved or changed has a coloured edge\n"
     "  --all             each repeat of a group; else those that are alike are drawn once\n",
     OPT_SPEC | OPT_OUT | OPT_DIFF | OPT_ALL | OPT_TARGET, 0, "SPEC", cmd_draw, 1},
    {"twin", "SPEC [-o FILE] [--set KEY=VALUE]", "write the same network as a PyTorch module",
     "Prints a Python file (with -o, writes it) whose module has the same parameters under the same names.\n",
     OPT_SPEC | OPT_OUT, 0, "SPEC", cmd_twin, 1},
    {"export", "SPEC --weights W -o DIR|NAME.c [--single-file] [--stream] [--target T] [--for F] [--force]",
     "write an inference-only folder, weights inside",
     "Writes C that needs libc and libm alone: norms folded, weights from the checkpoint W as constant arrays.\n"
     "  --weights W       a checkpoint that 'train' wrote (.safetensors)\n"
     "  --single-file     one .c and one .h; with -o DIR/NAME.c these two alone, whatever else DIR holds\n"
     "  --stream          of recurrent layers: NAME_step, a step at a time with a state that its caller keeps\n"
     "  --target T        portable (default: strict C99), avx512, avx2, neon, native\n"
     "  --for F           speed (default), or size: loops instead of unrolled tiles, for small memories\n"
     "  --force           take a checkpoint that was trained as another network\n"
     "  -q                print nothing where all is well\n"
     "  --depfile F       write into F, for make, what DIR/.convoy-manifest or NAME.c was made from\n",
     OPT_SPEC | OPT_OUT | OPT_WEIGHTS | OPT_SINGLE_FILE | OPT_TARGET | OPT_FOR | OPT_FORCE | OPT_QUIET | OPT_DEPFILE,
     OPT_OUT | OPT_WEIGHTS, "SPEC", cmd_export, 1},
    {"study", "STUDY.yaml [-o DIR] [--plan|--part K/N|--merge|--slurm N] | --report RUNS.csv [--html FILE] [--json]",
     "train variants of a network, many times; say which is better, and how sure that is",
     "Trains every variant that STUDY names with several seeds and rates, and says what differs: the verdict, every "
     "comparison with its "
     "interval, and how the difference depends on the rate. Killed, the same command goes on and trains nothing "
     "twice.\n"
     "  -o DIR            where it works (default: study-NAME): DIR/runs.csv, DIR/report.html\n"
     "  --target T        native (default: what this machine has), avx512, avx2, neon, portable (strict C99)\n"
     "  --html FILE       the page (default: report.html beside the CSV)\n"
     "  --json            the report as JSON\n"
     "The report is a function of the CSV alone (docs/study.md).\n"
     "Exit status: 0 a verdict, 3 none yet.\n",
     OPT_STUDY | OPT_OUT | OPT_TARGET | OPT_HTML | OPT_JSON, 0, "STUDY.yaml", cmd_study, 1},
    {"where", "DATA [--minutes N] [-o DIR]",
     "batch norm before or after the activation, for your images, in ten minutes",
     "Trains a network on DATA with the norm before and after the activation, as often as the time allows, and says "
     "which is better, or that "
     "they differ by less than matters, or that this cannot be told. Then it trains the network to keep, and says what "
     "either order costs and how to write it in other libraries.\n"
     "  DATA              a set, or what 'convoy data' reads: a folder with a folder of images for each class, arrays, "
     "...\n"
     "  -o DIR            where it works (default: where-NAME): DIR/study.yaml, DIR/runs.csv, DIR/report.html, "
     "DIR/plan.json, DIR/best.yaml, DIR/best.safetensors\n"
     "  --target T        native (default: what this machine has), avx512, avx2, neon, portable (strict C99)\n"
     "  --html FILE       the page (default: DIR/report.html)\n"
     "  --json            the report as JSON\n"
     "The same command goes on where it stopped (docs/study.md). Exit status: 0 a verdict, 3 none.\n",
     OPT_WHERE | OPT_OUT | OPT_TARGET | OPT_HTML | OPT_JSON, 0, "DATA", cmd_where, 1},
    {"asm", "SPEC LAYER[.PASS] [--target T] [--json] [--set KEY=VALUE]",
     "show the inner loop of a layer, with its counts",
     "Compiles the layer's emitted C (-O2; CC in the environment is honoured) and prints the innermost loop with the "
     "most\n"
     "multiply-adds, and of all such loops the instructions, multiply-adds, loads, stores, and accesses of vectors to "
     "the stack (spills).\n"
     "  LAYER[.PASS]      conv2.forward, conv2.data, conv2.weights, conv2.infer; conv2: all of them\n"
     "  --target T        native (default: what this machine has), avx512, avx2, portable\n"
     "  --json            the counts as JSON\n",
     OPT_SPEC | OPT_SPEC2 | OPT_TARGET | OPT_JSON, 0, "SPEC", cmd_asm, 1},
};
enum { NCOMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to)
{
    Buf b = {0};
    buf_printf(&b,
               "convoy %s - a network spec in YAML becomes C that trains it: convolution, batch norm and activation "
               "fused, in whichever order the spec puts them.\n\n",
               CONVOY_VERSION);
    for (int i = 0; i < NCOMMANDS; i++)
        buf_printf(&b, "  convoy %-7s  %s\n", commands[i].name, commands[i].summary);
    buf_puts(&b, "\n  convoy help COMMAND    more about one of them\n"
                 "  convoy help TOPIC      the words of a spec:");
    for (int i = 0; help_topics[i]; i++)
        buf_printf(&b, "%s %s", i ? "," : "", help_topics[i]);
    buf_puts(&b, "\n  convoy --version\n"
                 "\nBegin with:\n\n"
                 "  convoy new mynet                      # writes mynet.yaml\n"
                 "  convoy check mynet.yaml               # what is in it\n"
                 "  convoy train mynet.yaml --epochs 2    # emit, compile, train\n"
                 "  convoy gen mynet.yaml -o mynet        # the C, to read or to keep\n");
    term_help(to, b.text);
}

static int help_for(const Command *c)
{
    term_help(stdout,
              xprintf("convoy %s  %s\n\n%s%s%s%s", c->name, c->usage, c->help, c->options & OPT_SET ? set_help : "",
                      c->options & OPT_DUMP ? dump_help : "", colour_help));
    struct cvy_option option[OWN_OPTIONS];
    own_options(c->options, option);
    if (c->options & OPT_REST)
        printf("\nThe program's options, which are handed to it:\n");
    cvy_options_help(option);
    struct cvy_option import[OWN_OPTIONS];
    own_import_options(c->options, option, import);
    if (c->options & OPT_IMPORT)
        term_help(stdout, "\nThe import's, where --data names what is no set yet (convoy data --help):\n");
    cvy_options_help(import);
    return EXIT_OK;
}

/* `topic`: it may be one of help's topics, too, for the hint. */
static const Command *find_command(const char *name, bool topic)
{
    for (int i = 0; i < NCOMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    const char *names[NCOMMANDS + 9] = {NULL};
    for (int i = 0; i < NCOMMANDS; i++)
        names[i] = commands[i].name;
    names[NCOMMANDS] = "help";
    for (int i = 0; topic && help_topics[i]; i++)
        names[NCOMMANDS + i] = help_topics[i];
    fprintf(stderr, "convoy: unknown %s '%.60s'\n  hint: %s\n", topic ? "topic" : "command", name,
            diag_choices(name, names, "convoy help"));
    return NULL;
}

static bool is_help(const char *s)
{
    return strcmp(s, "--help") == 0 || strcmp(s, "-h") == 0;
}

/* That no file that the command reads is one that it writes; `check --write` alone may write a spec anew. */
static bool spares_inputs(const Command *c, const Options *o)
{
    const char *const to[] = {o->out, o->html, o->depfile};
    const char *read[] = {o->spec, o->spec2, o->weights, o->diff, o->data};
    bool spares = true;

    if (c->run == cmd_check || c->run == cmd_new) /* whose word is a name */
        return true;
    for (size_t i = 0; i < sizeof to / sizeof *to && spares; i++)
        spares = cvy_spares(to[i], read, sizeof read / sizeof *read) && cvy_spares(to[i], o->word, o->nword);
    return spares;
}

int main(int argc, char **argv)
{
    cvy_start();
    json_set_alloc_funcs(xmalloc, free); /* so that no JSON lacks a member where memory is short */
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("convoy %s\n", CONVOY_VERSION);
        return cvy_finish(EXIT_OK, 0);
    }
    if (strcmp(argv[1], "help") == 0 && argc == 3 && help_topic(argv[2]))
        return cvy_finish(EXIT_OK, 0);
    if (is_help(argv[1]) || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return cvy_finish(EXIT_OK, 0);
    }
    bool help = strcmp(argv[1], "help") == 0;
    const Command *c = find_command(argv[help ? 2 : 1], help);
    if (!c)
        return EXIT_USAGE;
    trouble_status = c->trouble;
    for (int i = 2; i < argc && !help && strcmp(argv[i], "--") != 0; i++)
        help = is_help(argv[i]);
    if (help)
        return cvy_finish(help_for(c), 0);
    Options o;
    if (!options_read(c, argc, argv, &o))
        return EXIT_USAGE;
    term_colour_when(o.colour);
    return cvy_finish(spares_inputs(c, &o) ? c->run(&o) : c->trouble, 0);
}
