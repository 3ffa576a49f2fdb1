/* classify.c - classifies images with an exported network.
 *
 *     classify IMAGES [LABELS]
 *
 * IMAGES is an IDX file of bytes (t10k-images-idx3-ubyte, unzipped) of the network's size, LABELS one of as many
 * labels. Prints a class a line; with LABELS, how many of them were right, on stderr. The network is fashion.c and
 * fashion.h, which `convoy export ... --single-file` wrote: no library but libm. SPDX-License-Identifier: 0BSD */
#include "fashion.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, PIXELS = FASHION_CHANNELS * FASHION_HEIGHT * FASHION_WIDTH };

static int fail(const char *path, const char *what)
{
    fprintf(stderr, "classify: %s: %s\n", path, what);
    return EXIT_FAILURE;
}

/* Opens an IDX file of bytes whose items have `bytes` bytes each; *n: how many. Reads its head. NULL after a message.
 */
static FILE *idx_open(const char *path, unsigned long bytes, unsigned long *n)
{
    unsigned char head[4], size[4];
    unsigned long item = 1;
    FILE *f = fopen(path, "rb");

    if (!f) {
        fail(path, strerror(errno));
        return NULL;
    }
    if (fread(head, 1, 4, f) != 4 || head[0] || head[1] || head[2] != 8 || head[3] < 1 || head[3] > 4) {
        fail(path, "is no IDX file of bytes (.gz? unzip it first)");
        fclose(f);
        return NULL;
    }
    for (int d = 0; d < head[3]; d++) {
        if (fread(size, 1, 4, f) != 4)
            item = 0;
        const unsigned long dim =
            (unsigned long)size[0] << 24 | (unsigned long)size[1] << 16 | (unsigned long)size[2] << 8 | size[3];
        if (d == 0)
            *n = dim;
        else
            item = dim && item <= bytes / dim ? item * dim : 0; /* 0: not `bytes`, whatever follows */
    }
    if (item != bytes) {
        fprintf(stderr, "classify: %s: its items are not %lu bytes each\n", path, bytes);
        fclose(f);
        return NULL;
    }
    return f;
}

/* Bytes, channel by channel, as the network was trained to see them. */
static void normalise(const unsigned char *byte, float *x)
{
    static const float mean[] = FASHION_MEAN, std[] = FASHION_STD;

    for (int c = 0; c < FASHION_CHANNELS; c++)
        for (int i = 0; i < PIXELS / FASHION_CHANNELS; i++)
            *x++ = ((float)*byte++ / 255.0f - mean[c]) / std[c];
}

static int best(const float *logit)
{
    int k = 0;

    for (int i = 1; i < FASHION_CLASSES; i++)
        if (logit[i] > logit[k])
            k = i;
    return k;
}

static int classify(struct fashion *net, FILE *images, const char *path, FILE *labels, const char *labels_path,
                    unsigned long n)
{
    static unsigned char byte[BATCH * PIXELS], label[BATCH];
    static float x[BATCH * PIXELS], y[BATCH * FASHION_CLASSES];
    unsigned long right = 0;

    for (unsigned long at = 0; at < n;) {
        const int m = n - at < BATCH ? (int)(n - at) : BATCH;
        if (fread(byte, PIXELS, (size_t)m, images) != (size_t)m)
            return fail(path, "ends before its last image");
        if (labels && fread(label, 1, (size_t)m, labels) != (size_t)m)
            return fail(labels_path, "ends before its last label");
        for (int i = 0; i < m; i++)
            normalise(byte + i * PIXELS, x + i * PIXELS);
        fashion_infer(net, x, y, m);
        for (int i = 0; i < m; i++) {
            const int k = best(y + i * FASHION_CLASSES);
            printf("%d\n", k);
            right += labels && label[i] == k;
        }
        at += (unsigned long)m;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail("output", "cannot be written");
    if (labels && n)
        fprintf(stderr, "%lu of %lu right: %.2f %%\n", right, n, 100.0 * (double)right / (double)n);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static float memory[FASHION_ARENA_BYTES(1) / sizeof(float)];
    struct fashion *const net = fashion_init(memory, sizeof memory, 1);
    unsigned long n = 0, nlabels = 0;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: classify IMAGES [LABELS]\n");
        return 2;
    }
    FILE *const images = idx_open(argv[1], PIXELS, &n), *const labels =
                                                            images && argc == 3 ? idx_open(argv[2], 1, &nlabels) : NULL;
    int status = EXIT_FAILURE;
    if (!net)
        fail("fashion_init", "too little memory");
    else if (images && argc == 3 && labels && n != nlabels)
        fail(argv[2], "holds another number of labels than there are images");
    else if (images && (argc == 2 || labels))
        status = classify(net, images, argv[1], labels, argc == 3 ? argv[2] : "", n);
    if (labels)
        fclose(labels);
    if (images)
        fclose(images);
    return status;
}
