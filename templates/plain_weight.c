// A network for reading: conv, linear and the bias of both. `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right
// below it, one backward. Where the network does not train, or no conv has groups, say, the lines for that are left out.

//$ define plain_conv
struct conv {
    int C, H, W, O, P, Q, K, L; /* input C x H x W, output O x P x Q, kernel K x L */
    int stride[2], padding[2]${o.more};
};

/* conv: y[o][i][j] = b[o] + sum over c, u, v of w[o][c][u][v] x[c][r][s], r = ${o.row}, s likewise;
 //$ if o.groups
 * x is 0 outside the image. With groups, the sum is over the channels of o's own group, which begin at channel `first` of x. */
 //$ else
 * x is 0 outside the image. */
 //$ end
static void conv_forward(const struct conv *k, int n, const void *in, const struct weights *p, void *out)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in, (*w)[${o.c}][k->K][k->L] = p->w;
    float (*y)[k->O][k->P][k->Q] = out;

    for (int m = 0; m < n; m++)
        for (int o = 0; o < k->O; o++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++) {
                    float sum = p->b ? p->b[o] : 0;
                    //$ if o.groups
                    const int first = o / (k->O / k->groups) * (${o.c});
                    //$ end
                    for (int c = 0; c < ${o.c}; c++)
                        for (int u = 0; u < k->K; u++)
                            for (int v = 0; v < k->L; v++) {
                                const int r = ${o.r};
                                const int s = ${o.s};
                                if (r >= 0 && r < k->H && s >= 0 && s < k->W)
                                    sum += w[o][c][u][v] * x[m][${o.at}][r][s];
                            }
                    y[m][o][i][j] = sum;
                }
}
//$ if n.train

/* The same products: dw[o][c][u][v] = sum of dy[o][i][j] x[c][r][s], dx[c][r][s] = sum of dy[o][i][j] w[o][c][u][v]. */
static void conv_backward(const struct conv *k, int n, const void *in, const struct weights *p, const void *out_g, void *in_g, const struct weights *g)
{
    const float (*x)[k->C][k->H][k->W] = (void *)in, (*w)[${o.c}][k->K][k->L] = p->w, (*dy)[k->O][k->P][k->Q] = (void *)out_g;
    float (*dx)[k->C][k->H][k->W] = in_g, (*dw)[${o.c}][k->K][k->L] = g->w;

    for (int m = 0; m < n; m++)
        for (int o = 0; o < k->O; o++)
            for (int i = 0; i < k->P; i++)
                for (int j = 0; j < k->Q; j++)
                    for (int c = 0; c < ${o.c}; c++)
                        for (int u = 0; u < k->K; u++)
                            for (int v = 0; v < k->L; v++) {
                                //$ if o.groups
                                const int first = o / (k->O / k->groups) * (${o.c});
                                //$ end
                                const int r = ${o.r};
                                const int s = ${o.s};
                                if (r < 0 || r >= k->H || s < 0 || s >= k->W)
                                    continue;
                                //$ if n.frozen
                                if (dw) /* NULL: they are frozen */
                                    dw[o][c][u][v] += dy[m][o][i][j] * x[m][${o.at}][r][s];
                                //$ else
                                dw[o][c][u][v] += dy[m][o][i][j] * x[m][${o.at}][r][s];
                                //$ end
                                if (dx) /* NULL: nobody wants it */
                                    dx[m][${o.at}][r][s] += dy[m][o][i][j] * w[o][c][u][v];
                            }
    //$ if n.bias
    bias_backward(n, k->O, k->P * k->Q, out_g, g->b);
    //$ end
}
//$ end
//$ end

//$ define plain_linear
/* linear: y[o] = b[o] + sum over c of w[o][c] x[c] */
static void linear_forward(int n, int C, int O, const void *in, const struct weights *p, void *out)
{
    const float (*x)[C] = (void *)in, (*w)[C] = p->w;
    float (*y)[O] = out;

    for (int m = 0; m < n; m++)
        for (int o = 0; o < O; o++) {
            float sum = p->b ? p->b[o] : 0;
            for (int c = 0; c < C; c++)
                sum += w[o][c] * x[m][c];
            y[m][o] = sum;
        }
}
//$ if n.train

/* dw[o][c] = sum of dy[o] x[c], dx[c] = sum of dy[o] w[o][c] */
static void linear_backward(int n, int C, int O, const void *in, const struct weights *p, const void *out_g, void *in_g, const struct weights *g)
{
    const float (*x)[C] = (void *)in, (*w)[C] = p->w, (*dy)[O] = (void *)out_g;
    float (*dx)[C] = in_g, (*dw)[C] = g->w;

    for (int m = 0; m < n; m++)
        for (int o = 0; o < O; o++)
            for (int c = 0; c < C; c++) {
                //$ if n.frozen
                if (dw) /* NULL: they are frozen */
                    dw[o][c] += dy[m][o] * x[m][c];
                //$ else
                dw[o][c] += dy[m][o] * x[m][c];
                //$ end
                if (dx) /* NULL: nobody wants it */
                    dx[m][c] += dy[m][o] * w[o][c];
            }
    //$ if n.bias
    bias_backward(n, O, 1, out_g, g->b);
    //$ end
}
//$ end
//$ end

//$ define plain_bias
/* A bias is added to every pixel of its channel, so db[o] = sum of dy[o][i]: in double, as such a sum may be nearly zero. */
static void bias_backward(int n, int O, int area, const void *out_g, float *db)
{
    const float (*dy)[O][area] = (void *)out_g;

    for (int o = 0; db && o < O; o++) {
        double sum = 0;
        for (int m = 0; m < n; m++)
            for (int i = 0; i < area; i++)
                sum += dy[m][o][i];
        db[o] = (float)sum;
    }
}
//$ end

//$ define plain_embed
/* The row of token v in a table of N; -1 where v is none, no whole number from 0 to N - 1 */
static int embed_row(int N, float v)
{
    return v >= 0 && v < (float)N && (float)(int)v == v ? (int)v : -1;
}

/* embed: y[.][t] = row x[t] of a table with N rows of D numbers; NaN where x[t] is no token */
static void embed_forward(int n, int N, int D, int L, const void *in, const struct weights *p, void *out)
{
    const float (*x)[L] = (void *)in, (*w)[D] = p->w;
    float (*y)[D][L] = out;

    for (int m = 0; m < n; m++)
        for (int t = 0; t < L; t++) {
            const int row = embed_row(N, x[m][t]);
            for (int d = 0; d < D; d++)
                y[m][d][t] = row < 0 ? NAN : w[row][d];
        }
}
//$ if n.train

/* dw[row] = sum of dy[.][t] over all t whose token it is; the tokens themselves have no gradient */
static void embed_backward(int n, int N, int D, int L, const void *in, const struct weights *p, const void *out_g, void *in_g, const struct weights *g)
{
    const float (*x)[L] = (void *)in, (*dy)[D][L] = (void *)out_g;
    float (*dw)[D] = g->w;

    (void)p, (void)in_g;
    for (int m = 0; m < n && dw; m++) /* NULL: it is frozen */
        for (int t = 0; t < L; t++) {
            const int row = embed_row(N, x[m][t]);
            for (int d = 0; d < D && row >= 0; d++)
                dw[row][d] += dy[m][d][t];
        }
}
//$ end
//$ end
