// A network for reading: what looks at windows of an image. `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right
// below it, one backward. Where the network does not train, or no conv has groups, say, the lines for that are left out.

//$ define plain_pool
struct pool {
    int C, H, W, P, Q, K, L; /* input C x H x W, output C x P x Q, window K x L */
    int stride[2], padding[2]${n.pool_more};
};
//$ end

//$ define plain_maxpool
/* Where in its window the largest element stands, the first of equals: row r, column s. */
static void maxpool_winner(const struct pool *k, const void *channel, int i, int j, int *r, int *s)
{
    const float (*x)[k->W] = (void *)channel;

    *r = *s = -1;
    for (int u = i * k->stride[0] - k->padding[0]; u < i * k->stride[0] - k->padding[0] + k->K; u++)
        for (int v = j * k->stride[1] - k->padding[1]; v < j * k->stride[1] - k->padding[1] + k->L; v++)
            if (u >= 0 && u < k->H && v >= 0 && v < k->W && (*r < 0 || x[u][v] > x[*r][*s] || isnan(x[u][v])))
                *r = u, *s = v;
}

/* max pooling: y[c][i][j] = max of x[c][r][s] over the window of (i, j) */
static void maxpool_forward(const struct pool *k, int n, const void *in, void *out)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in;
    float (*y)[k->C][k->P][k->Q] = out;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < k->C; c++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++) {
                    int r, s;
                    maxpool_winner(k, x[m][c], i, j, &r, &s);
                    y[m][c][i][j] = x[m][c][r][s];
                }
}
//$ if n.train

/* dx[c][r][s] = sum of dy[c][i][j] over the windows in which x[c][r][s] won */
static void maxpool_backward(const struct pool *k, int n, const void *in, const void *out_g, void *in_g)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in, (*dy)[k->C][k->P][k->Q] = (void *)out_g;
    float (*dx)[k->C][k->H][k->W] = in_g;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < k->C; c++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++) {
                    int r, s;
                    maxpool_winner(k, x[m][c], i, j, &r, &s);
                    dx[m][c][r][s] += dy[m][c][i][j];
                }
}
//$ end
//$ end

//$ define plain_avgpool
//$ if n.uneven_averages
/* By what average pooling divides, along a direction d: the rows, or columns, of window i that count. Those in the padding do,
   but where only what is inside does; those beyond the padding never do. */
static int avgpool_counted(const struct pool *k, int d, int i)
{
    const int begin = i * k->stride[d] - k->padding[d], end = begin + (d ? k->L : k->K), size = d ? k->W : k->H;
    const int from = k->inside && begin < 0 ? 0 : begin, to = k->inside ? size : size + k->after[d];

    return (end < to ? end : to) - from;
}

/* average pooling: y[c][i][j] = sum of x[c][r][s] over the window of (i, j) / how many elements of it count */
//$ else
/* average pooling: y[c][i][j] = sum of x[c][r][s] over the window of (i, j) / (K L); padding counts, as zeros */
//$ end
static void avgpool_forward(const struct pool *k, int n, const void *in, void *out)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in;
    float (*y)[k->C][k->P][k->Q] = out;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < k->C; c++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++) {
                    float sum = 0;
                    for (int u = 0; u < k->K; u++)
                        for (int v = 0; v < k->L; v++) {
                            const int r = i * k->stride[0] + u - k->padding[0], s = j * k->stride[1] + v - k->padding[1];
                            if (r >= 0 && r < k->H && s >= 0 && s < k->W)
                                sum += x[m][c][r][s];
                        }
                    y[m][c][i][j] = sum / (float)(${n.pool_counted});
                }
}
//$ if n.train

/* dx[c][r][s] = sum of dy[c][i][j] / ${n.pool_divisor} over the windows with (r, s) in them */
static void avgpool_backward(const struct pool *k, int n, const void *out_g, void *in_g)
{
    const float (*dy)[k->C][k->P][k->Q] = (void *)out_g;
    float (*dx)[k->C][k->H][k->W] = in_g;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < k->C; c++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++)
                    for (int u = 0; u < k->K; u++)
                        for (int v = 0; v < k->L; v++) {
                            const int r = i * k->stride[0] + u - k->padding[0], s = j * k->stride[1] + v - k->padding[1];
                            if (r >= 0 && r < k->H && s >= 0 && s < k->W)
                                dx[m][c][r][s] += dy[m][c][i][j] / (float)(${n.pool_counted});
                        }
}
//$ end
//$ end

//$ define plain_global_avg_pool
/* global average pooling: y[c] = sum of x[c][i] / A over the A pixels */
static void global_avg_pool_forward(int n, int C, int A, const void *in, void *out)
{
    const float (*x)[C][A] = (void *)in;
    float (*y)[C] = out;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++) {
            float sum = 0;
            for (int i = 0; i < A; i++)
                sum += x[m][c][i];
            y[m][c] = sum / (float)A;
        }
}
//$ if n.train

/* dx[c][i] = dy[c] / A */
static void global_avg_pool_backward(int n, int C, int A, const void *out_g, void *in_g)
{
    const float (*dy)[C] = (void *)out_g;
    float (*dx)[C][A] = in_g;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < A; i++)
                dx[m][c][i] += dy[m][c] / (float)A;
}
//$ end
//$ end

//$ define plain_pad
struct pad {
    int C, H, W, O, P, Q; /* input C x H x W, output O x P x Q */
    int before, stride[2];
};

/* pad, a shortcut without weights: y[before + c][i][j] = x[c][i stride][j stride], other channels of y are 0 */
static void pad_forward(const struct pad *k, int n, const void *in, void *out)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in;
    float (*y)[k->O][k->P][k->Q] = out;

    for (int m = 0; m < n; m++)
        for (int o = 0; o < k->O; o++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++) {
                    const int c = o - k->before;
                    y[m][o][i][j] = c >= 0 && c < k->C ? x[m][c][i * k->stride[0]][j * k->stride[1]] : 0;
                }
}
//$ if n.train

/* dx[c][i stride][j stride] = dy[before + c][i][j], others 0 */
static void pad_backward(const struct pad *k, int n, const void *out_g, void *in_g)
{
    const float (*dy)[k->O][k->P][k->Q] = (void *)out_g;
    float (*dx)[k->C][k->H][k->W] = in_g;

    for (int m = 0; m < n; m++)
        for (int c = 0; c < k->C; c++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++)
                    dx[m][c][i * k->stride[0]][j * k->stride[1]] += dy[m][k->before + c][i][j];
}
//$ end
//$ end
