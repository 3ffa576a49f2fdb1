/* test_study_files.c - the studies of specs/studies: each file is read, and each variant is a network. */
#include "diag.h"
#include "graph.h"
#include "plan_study.h"
#include "read.h"
#include "test_study.h"

#include <glob.h>
#include <string.h>

static const char *folder;

static const Graph *graph_of(const VariantSpec *of)
{
    Source source;
    Node *tree = yaml_read(of->spec, &source);
    for (int i = 0; tree && i < of->nset; i++)
        yaml_override(tree, of->set[i], i);
    const Spec *spec = diag_errors() ? NULL : spec_read(tree);
    return spec ? graph_build(spec) : NULL;
}

START_TEST(test_studies)
{
    glob_t found;
    ck_assert_int_eq(glob(xprintf("%s/../specs/studies/*.yaml", folder), 0, NULL, &found), 0);
    ck_assert_uint_ge(found.gl_pathc, 10);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i], *file = strrchr(path, '/') + 1;
        StudyFile *f = study_file_read(path);
        ck_assert_msg(!diag_flush(stderr) && f, "%s", path);
        const size_t n = strlen(f->study.name);
        ck_assert_msg(strncmp(file, f->study.name, n) == 0 && strcmp(file + n, ".yaml") == 0, "%s is called %s", path,
                      f->study.name);
        for (int v = 0; v < f->study.nvariant; v++) {
            const Graph *g = graph_of(&f->of[v]);
            ck_assert_msg(!diag_flush(stderr) && g, "%s, %s", path, f->study.variant[v].name);
            ck_assert_int_eq(g->spec->classes, f->take.folds ? 9 : 10); /* emoji are dealt into folds */
        }
    }
    globfree(&found);
}
END_TEST

TCase *file_tests(const char *tests)
{
    folder = tests;
    TCase *t = tcase_create("files");
    tcase_add_test(t, test_studies);
    return t;
}
