/* study.c - `convoy study`: what many trainings show. */
#include "commands.h"
#include "cvy_private.h"
#include "diag.h"
#include "files.h"
#include "report.h"
#include "study_options.h"

#include <string.h>

void study_options(StudyOptions *o, struct cvy_option list[STUDY_OPTIONS])
{
    *o = (StudyOptions){0};
    const struct cvy_option option[] = {
        {CVY_SECTION, "study", NULL, NULL, 0, 0, NULL, 0},
        {CVY_FLAG, "--report", NULL, &o->report, 0, 0, "the report of a CSV alone: nothing is trained", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    memcpy(list, option, sizeof option);
}

/* "DIR/report.html", beside the CSV. */
static const char *page_beside(const char *csv)
{
    const char *slash = strrchr(csv, '/');
    return xprintf("%.*sreport.html", slash ? (int)(slash + 1 - csv) : 0, csv);
}

/* Whether the primary pair has an answer that stands: else the status is another. */
static bool is_verdict(const Analysis *a)
{
    static const bool stands[ANSWERS] = {[ANSWER_FAILED] = true, [ANSWER_SAME] = true,     [ANSWER_BETTER] = true,
                                         [ANSWER_EASY] = true,   [ANSWER_SLIGHTLY] = true, [ANSWER_EQUAL] = true};
    return !a->interim && !a->null_claimed && stands[a->pair[0].verdict.answer];
}

/* Prints the report, and writes the page. */
static int report(const Study *s, const char *csv, const Options *o)
{
    const Analysis *a = analyse(s);
    const char *page = o->html ? o->html : page_beside(csv);
    if (!o->json || o->html) {
        const char *text = report_html(a);
        if (!file_write(page, text, strlen(text)))
            return EXIT_FAILED;
    }
    if (o->json) {
        printf("%s\n", report_json(a));
    } else {
        report_text(a, stdout);
        printf("\nThe page: %s\n", page);
    }
    return is_verdict(a) ? EXIT_OK : EXIT_UNCLEAR;
}

int cmd_study(const Options *o)
{
    StudyOptions own;
    struct cvy_option option[STUDY_OPTIONS];
    study_options(&own, option);
    if (cvy_options_parse(o->nrest, o->rest, 0, "study", option) != 1)
        return EXIT_USAGE;
    const Study *s = study_read(o->spec);
    if (diag_flush(stderr) || !s)
        return EXIT_FAILED;
    return report(s, o->spec, o);
}
