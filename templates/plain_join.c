// A network for reading: dropout, and joins. `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right
// below it, one backward. Where the network does not train, or no conv has groups, say, the lines for that are left out.

//$ define plain_drop
//$ if n.train
/* Whether an element is kept: 32 bits out of a key and the element's number, at least `below` = p 2^32. Two rounds of a mixer of bits. */
int ${n.name}_keeps(uint64_t key, uint32_t i, uint32_t below)
{
    uint32_t h = (uint32_t)key + i;

    for (int round = 0; round < 2; round++) {
        h = (h ^ h >> 16) * 0x21f0aaadu;
        h = (h ^ h >> 15) * 0xd35a2d97u;
        h ^= h >> 15;
        h ^= round == 0 ? (uint32_t)(key >> 32) : 0;
    }
    return h >= below;
}

//$ end
/* dropout: y = x / (1 - p) with probability 1 - p, else 0; in inference y = x. The mask is drawn from seed, step, stage, image and element. */
//$ if n.train
static void drop_forward(int n, uint32_t size, const char *stage, uint32_t below, float scale, const struct cvy_step *step, const float *x, float *y)
{
    for (int m = 0; m < n; m++) {
        const uint64_t key = step ? cvy_drop_key(cvy_stage(stage), step, m) : 0;
        for (uint32_t i = 0; i < size; i++, x++, y++)
            *y = !step ? *x : ${n.name}_keeps(key, i, below) ? *x * scale : 0;
    }
}
//$ else
static void drop_forward(int n, uint32_t size, const float *x, float *y)
{
    memcpy(y, x, sizeof(float) * (size_t)n * size);
}
//$ end
//$ if n.train

/* dx = dy / (1 - p) where the element was kept, else 0 */
static void drop_backward(int n, uint32_t size, const char *stage, uint32_t below, float scale, const struct cvy_step *step, const float *dy, float *dx)
{
    for (int m = 0; m < n; m++) {
        const uint64_t key = cvy_drop_key(cvy_stage(stage), step, m);
        for (uint32_t i = 0; i < size; i++, dy++, dx++)
            *dx += ${n.name}_keeps(key, i, below) ? *dy * scale : 0;
    }
}
//$ end
//$ end

//$ define plain_add
/* add: y = a + b */
static void add_forward(int64_t count, const float *a, const float *b, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}
//$ if n.train

/* da = dy, db = dy: called once for each */
static void add_backward(int64_t count, const float *dy, float *da)
{
    for (int64_t i = 0; i < count; i++)
        da[i] += dy[i];
}
//$ end
//$ end

//$ define plain_concat
/* concat: y[first + c][i] = x[c][i], called once for each input; its C channels become channels [first, first + C) of O */
static void concat_forward(int n, int A, int C, int first, int O, const void *in, void *out)
{
    const float (*x)[C][A] = (void *)in;
    float (*y)[O][A] = out;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < A; i++)
                y[m][first + c][i] = x[m][c][i];
}
//$ if n.train

/* dx[c][i] = dy[first + c][i] */
static void concat_backward(int n, int A, int C, int first, int O, const void *out_g, void *in_g)
{
    const float (*dy)[O][A] = (void *)out_g;
    float (*dx)[C][A] = in_g;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < A; i++)
                dx[m][c][i] += dy[m][first + c][i];
}
//$ end
//$ end
