// A network for reading: `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right below it, one backward.
// Where the network does not train, or no conv has groups, say, the lines for that are left out.

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

//$ define plain_bn
struct bn {
    int C, A; /* channels, pixels */
    double eps, momentum;
};
//$ if n.train

/* Of channel c, over all images and pixels: mean = sum x / count, var = sum (x - mean)^2 / count */
static void bn_moments(const struct bn *k, int n, const void *in, int c, double *mean, double *var)
{
    const float (*x)[k->C][k->A] = (void *)in;
    double sum = 0, squares = 0;

    for (int m = 0; m < n; m++)
        for (int i = 0; i < k->A; i++)
            sum += x[m][c][i];
    *mean = sum / ((double)n * k->A);
    for (int m = 0; m < n; m++)
        for (int i = 0; i < k->A; i++)
            squares += (x[m][c][i] - *mean) * (x[m][c][i] - *mean);
    *var = squares / ((double)n * k->A);
}
//$ end

/* batch norm: y = gamma xhat + beta, xhat = (x - mean) / sd, sd = sqrt(var + eps). Training takes mean and var from the batch, and lets the running
 * ones follow (the running var is the unbiased one, times count / (count - 1)); inference takes the running ones. */
//$ if n.train
static void bn_forward(const struct bn *k, int training, int n, const void *in, const struct norm *p, void *out)
//$ else
static void bn_forward(const struct bn *k, int n, const void *in, const struct norm *p, void *out)
//$ end
{
    const float (*x)[k->C][k->A] = (void *)in;
    float (*y)[k->C][k->A] = out;

    for (int c = 0; c < k->C; c++) {
        double mean = p->mean[c], var = p->var[c];
        //$ if n.train
        const double count = (double)n * k->A, t = k->momentum;
        if (training) {
            bn_moments(k, n, in, c, &mean, &var);
            p->mean[c] = (float)((1 - t) * p->mean[c] + t * mean);
            p->var[c] = (float)((1 - t) * p->var[c] + t * var * (count > 1 ? count / (count - 1) : 1));
        }
        //$ end
        const double sd = sqrt(var + k->eps);
        for (int m = 0; m < n; m++)
            for (int i = 0; i < k->A; i++)
                y[m][c][i] = (float)(p->gamma[c] * ((x[m][c][i] - mean) / sd) + p->beta[c]);
    }
    //$ if n.train
    *p->batches += training;
    //$ end
}
//$ if n.train

/* dbeta = sum dy, dgamma = sum dy xhat; mean and var depend on x, too, so
 * dx = gamma / sd (dy - dbeta / count - xhat dgamma / count) */
static void bn_backward(const struct bn *k, int n, const void *in, const struct norm *p, const void *out_g, void *in_g, const struct norm *g)
{
    const float (*x)[k->C][k->A] = (void *)in, (*dy)[k->C][k->A] = (void *)out_g;
    float (*dx)[k->C][k->A] = in_g;
    const double count = (double)n * k->A;

    for (int c = 0; c < k->C; c++) {
        double mean, var, dbeta = 0, dgamma = 0;
        bn_moments(k, n, in, c, &mean, &var);
        const double sd = sqrt(var + k->eps);
        for (int m = 0; m < n; m++)
            for (int i = 0; i < k->A; i++) {
                dbeta += dy[m][c][i];
                dgamma += dy[m][c][i] * ((x[m][c][i] - mean) / sd);
            }
        g->beta[c] = (float)dbeta;
        g->gamma[c] = (float)dgamma;
        for (int m = 0; dx && m < n; m++)
            for (int i = 0; i < k->A; i++)
                dx[m][c][i] += (float)(p->gamma[c] / sd * (dy[m][c][i] - dbeta / count - (x[m][c][i] - mean) / sd * dgamma / count));
    }
}
//$ if n.frozen

/* Frozen: mean, var, gamma and beta are numbers, so dx = gamma / sd dy */
static void bn_frozen_backward(const struct bn *k, int n, const struct norm *p, const void *out_g, void *in_g)
{
    const float (*dy)[k->C][k->A] = (void *)out_g;
    float (*dx)[k->C][k->A] = in_g;

    for (int c = 0; c < k->C; c++)
        for (int m = 0; m < n; m++)
            for (int i = 0; i < k->A; i++)
                dx[m][c][i] += (float)(p->gamma[c] / sqrt(p->var[c] + k->eps) * dy[m][c][i]);
}
//$ end
//$ end
//$ end

//$ define plain_gn
struct gn {
    int C, A, groups; /* channels, pixels; layer norm: one group, instance norm: a group a channel */
    int raw;          /* rms norm: the mean stands as 0 */
    double eps;
};

/* Of `count` values: mean = sum x / count, or 0 where it is not taken away, sd = sqrt(sum (x - mean)^2 / count + eps) */
static void gn_moments(const struct gn *k, const float *x, int64_t count, double *mean, double *sd)
{
    double sum = 0, squares = 0;

    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    *mean = k->raw ? 0 : sum / (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *sd = sqrt(squares / (double)count + k->eps);
}

/* group norm: y = gamma xhat + beta (where there is one), xhat = (x - mean) / sd, mean and sd of a group of an image's channels; in
 * training as in inference */
static void gn_forward(const struct gn *k, int n, const void *in, const struct norm *p, void *out)
{
    const float (*x)[k->C][k->A] = (void *)in;
    float (*y)[k->C][k->A] = out;
    const int many = k->C / k->groups; /* channels a group */

    for (int m = 0; m < n; m++)
        for (int first = 0; first < k->C; first += many) {
            double mean, sd;
            gn_moments(k, x[m][first], (int64_t)many * k->A, &mean, &sd);
            for (int c = first; c < first + many; c++)
                for (int i = 0; i < k->A; i++)
                    y[m][c][i] = (float)(p->gamma[c] * ((x[m][c][i] - mean) / sd) + (p->beta ? p->beta[c] : 0));
        }
}
//$ if n.train

/* dbeta = sum dy, dgamma = sum dy xhat, a channel; with count values in a group, and the first sum 0 where no mean is taken away,
 * dx = 1 / sd (gamma dy - sum (gamma dy) / count - xhat sum (gamma dy xhat) / count), sums over the group */
static void gn_backward(const struct gn *k, int n, const void *in, const struct norm *p, const void *out_g, void *in_g, const struct norm *g)
{
    const float (*x)[k->C][k->A] = (void *)in, (*dy)[k->C][k->A] = (void *)out_g;
    float (*dx)[k->C][k->A] = in_g;
    const int many = k->C / k->groups;
    const double count = (double)many * k->A;

    for (int m = 0; m < n; m++)
        for (int first = 0; first < k->C; first += many) {
            double mean, sd, sum = 0, dot = 0;
            gn_moments(k, x[m][first], (int64_t)many * k->A, &mean, &sd);
            for (int c = first; c < first + many; c++) {
                double dbeta = 0, dgamma = 0;
                for (int i = 0; i < k->A; i++) {
                    dbeta += dy[m][c][i];
                    dgamma += dy[m][c][i] * ((x[m][c][i] - mean) / sd);
                }
                if (g->beta)
                    g->beta[c] += (float)dbeta;
                //$ if n.frozen
                if (g->gamma) /* NULL: they are frozen */
                    g->gamma[c] += (float)dgamma;
                //$ else
                g->gamma[c] += (float)dgamma;
                //$ end
                sum += k->raw ? 0 : p->gamma[c] * dbeta;
                dot += p->gamma[c] * dgamma;
            }
            for (int c = first; dx && c < first + many; c++)
                for (int i = 0; i < k->A; i++)
                    dx[m][c][i] += (float)((p->gamma[c] * dy[m][c][i] - sum / count - (x[m][c][i] - mean) / sd * dot / count) / sd);
        }
}
//$ end
//$ end

//$ define plain_relu
/* relu: y = max(x, 0); a NaN stays one */
static void relu_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] <= 0 ? 0 : x[i];
}
//$ if n.train

/* dx = 0 where y <= 0, else dy */
static void relu_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] <= 0 ? 0 : dy[i];
}
//$ end
//$ end

//$ define plain_leaky_relu
/* leaky relu: y = x where x > 0, else slope x */
static void leaky_relu_forward(int64_t count, float slope, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] > 0 ? x[i] : slope * x[i];
}
//$ if n.train

/* dx = dy where y > 0, else slope dy */
static void leaky_relu_backward(int64_t count, float slope, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] > 0 ? dy[i] : slope * dy[i];
}
//$ end
//$ end

//$ define plain_tanh
/* tanh: y = tanh(x) */
static void tanh_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = tanhf(x[i]);
}
//$ if n.train

/* dx = (1 - y^2) dy */
static void tanh_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += (1 - y[i] * y[i]) * dy[i];
}
//$ end
//$ end

//$ define plain_sigmoid
/* sigmoid: y = 1 / (1 + exp(-x)) */
static void sigmoid_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = 1 / (1 + expf(-x[i]));
}
//$ if n.train

/* dx = y (1 - y) dy */
static void sigmoid_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] * (1 - y[i]) * dy[i];
}
//$ end
//$ end

//$ define plain_silu
/* silu: y = x s, s = sigmoid(x) = 1 / (1 + exp(-x)) */
static void silu_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] / (1 + expf(-x[i]));
}
//$ if n.train

/* dx = (s + x s (1 - s)) dy */
static void silu_backward(int64_t count, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++) {
        const float s = 1 / (1 + expf(-x[i]));
        dx[i] += (s + x[i] * s * (1 - s)) * dy[i];
    }
}
//$ end
//$ end

//$ define plain_elu
/* elu: y = x where x > 0, else alpha (exp(x) - 1) */
static void elu_forward(int64_t count, float alpha, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] > 0 ? x[i] : alpha * expm1f(x[i]);
}
//$ if n.train

/* dx = dy where y > 0, else alpha exp(x) dy = (y + alpha) dy */
static void elu_backward(int64_t count, float alpha, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] > 0 ? dy[i] : (y[i] + alpha) * dy[i];
}
//$ end
//$ end

//$ define plain_selu
/* selu: y = scale x where x > 0, else scale alpha (exp(x) - 1) */
static const float selu_scale = 1.05070098735548f, selu_alpha = 1.67326324235438f;
static void selu_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = selu_scale * (x[i] > 0 ? x[i] : selu_alpha * expm1f(x[i]));
}
//$ if n.train

/* dx = scale dy where y > 0, else scale alpha exp(x) dy = (y + scale alpha) dy */
static void selu_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += (y[i] > 0 ? selu_scale : y[i] + selu_scale * selu_alpha) * dy[i];
}
//$ end
//$ end

//$ define plain_gelu
/* gelu: y = x F(x), F the normal distribution function, F(x) = erfc(-x / sqrt(2)) / 2 */
static void gelu_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = 0.5f * x[i] * erfcf(-0.70710678f * x[i]);
}
//$ if n.train

/* dx = (F(x) + x f(x)) dy, f the normal density, f(x) = exp(-x^2 / 2) / sqrt(2 pi) */
static void gelu_backward(int64_t count, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += (0.5f * erfcf(-0.70710678f * x[i]) + x[i] * expf(-0.5f * x[i] * x[i]) * 0.39894228f) * dy[i];
}
//$ end
//$ end

//$ define plain_mish
/* mish: y = x tanh(t), t = softplus(x) = log(1 + exp(x)) */
static void mish_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] * tanhf((x[i] > 0 ? x[i] : 0) + log1pf(expf(-fabsf(x[i]))));
}
//$ if n.train

/* dx = (tanh(t) + x (1 - tanh(t)^2) sigmoid(x)) dy */
static void mish_backward(int64_t count, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++) {
        const float t = tanhf((x[i] > 0 ? x[i] : 0) + log1pf(expf(-fabsf(x[i]))));
        dx[i] += (t + x[i] * (1 - t * t) / (1 + expf(-x[i]))) * dy[i];
    }
}
//$ end
//$ end

//$ define plain_softplus
/* softplus: y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow */
static void softplus_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = (x[i] > 0 ? x[i] : 0) + log1pf(expf(-fabsf(x[i])));
}
//$ if n.train

/* dx = sigmoid(x) dy = (1 - exp(-y)) dy */
static void softplus_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] -= expm1f(-y[i]) * dy[i];
}
//$ end
//$ end

//$ define plain_relu6
/* relu6: y = min(max(x, 0), 6) */
static void relu6_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] <= 0 ? 0 : x[i] >= 6 ? 6 : x[i];
}
//$ if n.train

/* dx = dy where 0 < y < 6, else 0 */
static void relu6_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] > 0 && y[i] < 6 ? dy[i] : 0;
}
//$ end
//$ end

//$ define plain_hard_sigmoid
/* hard sigmoid: y = min(max((x + 3) / 6, 0), 1) */
static void hard_sigmoid_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? 1 : (x[i] + 3) / 6;
}
//$ if n.train

/* dx = dy / 6 where 0 < y < 1, else 0 */
static void hard_sigmoid_backward(int64_t count, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] > 0 && y[i] < 1 ? dy[i] / 6 : 0;
}
//$ end
//$ end

//$ define plain_hard_swish
/* hard swish: y = x min(max((x + 3) / 6, 0), 1) */
static void hard_swish_forward(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? x[i] : x[i] * (x[i] + 3) / 6;
}
//$ if n.train

/* dx = (x / 3 + 1 / 2) dy where -3 < x < 3, dy above, 0 below */
static void hard_swish_backward(int64_t count, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += x[i] <= -3 ? 0 : x[i] >= 3 ? dy[i] : (x[i] / 3 + 0.5f) * dy[i];
}
//$ end
//$ end

//$ define plain_hard_tanh
/* hard tanh: y = min(max(x, low), high) */
static void hard_tanh_forward(int64_t count, float low, float high, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] <= low ? low : x[i] >= high ? high : x[i];
}
//$ if n.train

/* dx = dy where low < y < high, else 0 */
static void hard_tanh_backward(int64_t count, float low, float high, const float *y, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += y[i] > low && y[i] < high ? dy[i] : 0;
}
//$ end
//$ end

//$ define plain_general_relu
/* general relu: y = min(leaky(x) - sub, maxv), leaky(x) = x where x > 0, else leak x */
static void general_relu_forward(int64_t count, float leak, float sub, float maxv, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++) {
        const float v = (x[i] > 0 ? x[i] : leak * x[i]) - sub;
        y[i] = v > maxv ? maxv : v;
    }
}
//$ if n.train

/* dx = dy where x > 0 and x - sub <= maxv, leak dy where x <= 0, else 0 (as PyTorch's clamp has it, where x is not a number, too) */
static void general_relu_backward(int64_t count, float leak, float sub, float maxv, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] += maxv < INFINITY && !(x[i] - sub <= maxv) ? 0 : x[i] > 0 ? dy[i] : leak * dy[i];
}
//$ end
//$ end

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

//$ define plain_cross_entropy
/* What image m's label counts; what each class c counts in every image: label smoothing */
static double loss_own(int label, const struct cvy_step *step)
{
    return (1 - (double)step->label_smoothing) * (step->class_weight ? (double)step->class_weight[label] : 1);
}
static double loss_share(int c, int C, const struct cvy_step *step)
{
    return (double)step->label_smoothing / C * (step->class_weight ? (double)step->class_weight[c] : 1);
}

/* What the sum over the images is divided by: n, or the weights of their labels */
static double loss_weight(int n, const int *labels, const struct cvy_step *step)
{
    double sum = 0;

    for (int m = 0; m < n; m++)
        sum += step->class_weight ? (double)step->class_weight[labels[m]] : 1;
    return sum;
}

/* loss: the mean over the images of -log p[label], p[c] = exp(z[c]) / sum of exp(z); z less its largest, so that nothing overflows */
static double cross_entropy_forward(int n, int C, const void *in, const int *labels, const struct cvy_step *step, double *score)
{
    const float (*z)[C] = (void *)in;
    double loss = 0;

    *score = 0;
    for (int m = 0; m < n; m++) {
        double sum = 0;
        int best = 0;
        for (int c = 1; c < C; c++)
            best = z[m][c] > z[m][best] ? c : best;
        for (int c = 0; c < C; c++)
            sum += exp((double)z[m][c] - z[m][best]);
        loss += loss_own(labels[m], step) * (log(sum) - ((double)z[m][labels[m]] - z[m][best]));
        for (int c = 0; c < C && step->label_smoothing > 0; c++)
            loss += loss_share(c, C, step) * (log(sum) - ((double)z[m][c] - z[m][best]));
        *score += best == labels[m];
    }
    return loss / loss_weight(n, labels, step);
}

/* dz[c] = (p[c] - (1 where c is the label, else 0)) / n */
static void cross_entropy_backward(int n, int C, const void *in, const int *labels, const struct cvy_step *step, void *in_g)
{
    const float (*z)[C] = (void *)in;
    float (*dz)[C] = in_g;
    const double weight = loss_weight(n, labels, step);

    for (int m = 0; m < n; m++) {
        double sum = 0, largest = z[m][0], own = loss_own(labels[m], step), all = own;
        for (int c = 1; c < C; c++)
            largest = z[m][c] > largest ? z[m][c] : largest;
        for (int c = 0; c < C; c++) {
            sum += exp(z[m][c] - largest);
            all += loss_share(c, C, step);
        }
        for (int c = 0; c < C; c++)
            dz[m][c] += (float)((all * exp(z[m][c] - largest) / sum - (c == labels[m] ? own : 0) - loss_share(c, C, step)) / weight);
    }
}
//$ end

//$ define plain_sgd
/* SGD with momentum: d = dw + decay w;  m = momentum m + d;  w = w - lr m, with Nesterov's w = w - lr (d + momentum m) */
static void sgd(int64_t count, const struct cvy_step *step, float decay, const float *dw, float *momentum, float *w)
{
    const float part = (float)step->hyper[CVY_MOMENTUM];

    for (int64_t i = 0; i < count; i++) {
        const float d = dw[i] + decay * w[i];
        momentum[i] = part * momentum[i] + d;
        w[i] -= step->lr * (step->hyper[CVY_NESTEROV] != 0 ? d + part * momentum[i] : momentum[i]);
    }
}
//$ end

//$ define plain_adam
/* Adam: d = dw + decay w;  mean = beta1 mean + (1 - beta1) d;  square = beta2 square + (1 - beta2) d^2;  both begin at zero, which in step t,
 * 1 at first, is made good: w = w - lr (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + eps) */
static void adam(int64_t count, const struct cvy_step *step, float decay, const float *dw, float *mean, float *square, float *w)
{
    const double beta1 = step->hyper[CVY_BETA1], beta2 = step->hyper[CVY_BETA2], t = (double)step->step + 1;
    const double seen1 = 1 - pow(beta1, t), seen2 = 1 - pow(beta2, t);

    for (int64_t i = 0; i < count; i++) {
        const float d = dw[i] + decay * w[i];
        mean[i] = (float)(beta1 * mean[i] + (1 - beta1) * d);
        square[i] = (float)(beta2 * square[i] + (1 - beta2) * d * d);
        w[i] -= (float)(step->lr * (mean[i] / seen1) / (sqrt(square[i] / seen2) + step->hyper[CVY_EPS]));
    }
}
//$ end

//$ define plain_adamw
/* AdamW: w = w - lr decay w;  mean = beta1 mean + (1 - beta1) dw;  square = beta2 square + (1 - beta2) dw^2;  both begin at zero, which in step
 * t, 1 at first, is made good: w = w - lr (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + eps) */
static void adamw(int64_t count, const struct cvy_step *step, float decay, const float *dw, float *mean, float *square, float *w)
{
    const double beta1 = step->hyper[CVY_BETA1], beta2 = step->hyper[CVY_BETA2], t = (double)step->step + 1;
    const double seen1 = 1 - pow(beta1, t), seen2 = 1 - pow(beta2, t);

    for (int64_t i = 0; i < count; i++) {
        mean[i] = (float)(beta1 * mean[i] + (1 - beta1) * dw[i]);
        square[i] = (float)(beta2 * square[i] + (1 - beta2) * dw[i] * dw[i]);
        w[i] -= (float)(step->lr * decay * w[i] + step->lr * (mean[i] / seen1) / (sqrt(square[i] / seen2) + step->hyper[CVY_EPS]));
    }
}
//$ end

//$ define plain_net
/* ${n.name}_net.c - the network, to be read: loops over plain arrays, one function an op and direction, and the network as a list of their calls.
 *
 * n images at once, NCHW: element (c, i, j) of image m is x[m][c][i][j]. In the formulas and the loops m is an image, c a channel of the input
 * and o of the output, (i, j) a pixel of the output, (u, v) one of a kernel, and (r, s) the pixel of the input under it. A function begins by saying
 * what shapes its arguments have; the (void *) there is for C before C23, to which an array of const is not a const array.
 * x is the input, v.NAME what op NAME makes of it, p.NAME its parameters.
 //$ if n.train
 * d.NAME is the gradient of v.NAME, g.NAME that of p.NAME. Gradients begin as zeros, and whoever reads a tensor adds to its gradient.
 //$ end
 * ${n.licence} */
#include "${n.name}_layout.h"

#include <math.h>
#include <string.h>

//$ if n.train
/* ---- the ops: forward, and below it backward ---- */
//$ else
/* ---- the ops ---- */
//$ end

//$ for o in n.ops
//$ emit o

//$ end
/* ---- the network ---- */

//$ if n.sizes
static const struct {
    //$ for s in n.size_kinds
    struct ${s.kind} ${s.names};
    //$ end
} size = {
    //$ for s in n.sizes
    .${s.name} = {${s.values}},
    //$ end
};

//$ end
//$ if n.train
/* Of n images. step NULL: inference. */
//$ else
/* Of n images. */
//$ end
static void run(const struct ${n.name} *net, const struct ${n.name}_values *v, int n, const float *x${n.step_parameter})
{
    const struct ${n.name}_params *const p = &net->p;

    //$ for l in n.forward
    ${l.line}
    //$ end
}

//$ if n.train
const struct cvy_step ${n.name}_step = {${n.step}};

double ${n.name}_forward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    double sum;

    if (!net || !step || !cvy_batch_fits(batch, net->net.batch, &cvy_${n.loss}, ${n.classes}) || batch->n < ${n.min_batch})
        return (double)NAN;
    net->batch = *batch;
    run(net, &net->v, batch->n, batch->x${n.step_argument});
    return ${n.loss}_forward(batch->n, ${n.classes}, net->v.${n.logits}, batch->target, step, score ? score : &sum);
}

int ${n.name}_backward(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    if (!net || !batch || !batch->x || !step || batch->n < 1 || batch->n != net->batch.n)
        return -1;
    const int n = batch->n;
    ${n.target_type}const ${n.target_name} = net->batch.target;
    //$ if n.backward_reads_x
    const float *const x = batch->x;
    //$ end
    const struct ${n.name}_values *const v = &net->v, *const d = &net->d;
    const struct ${n.name}_params *const p = &net->p, *const g = &net->g;

    memset(net->gradients, 0, sizeof(float) * ${n.value_floats} * (size_t)net->net.batch);
    memset(net->grad, 0, sizeof(float) * ${n.param_floats});
    //$ for l in n.backward
    ${l.line}
    //$ end

    if (net->net.grad) /* who runs a trace wants to see them */
        memcpy(net->net.grad, net->grad, sizeof(float) * ${n.param_floats});
    for (int i = 0; i < ${n.name}_model.ntensor && !step->hold; i++) {
        const struct cvy_tensor *t = &${n.name}_model.tensor[i];
        int64_t count = 1;
        for (int k = 0; k < t->at.ndim; k++)
            count *= t->at.dim[k];
        if (t->role <= CVY_BETA)
            ${n.optimiser}(count, step, t->role == CVY_WEIGHT ? step->weight_decay : step->weight_decay_other, net->grad + t->at.offset,
                ${n.buffers}, net->net.param + t->at.offset);
    }
    return 0;
}

double ${n.name}_train_step(struct ${n.name} *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    const double loss = ${n.name}_forward(net, batch, step, score);

    if (!isnan(loss))
        ${n.name}_backward(net, batch, step);
    return loss;
}

//$ end
int ${n.name}_infer(struct ${n.name} *net, const struct cvy_batch *batch, float *y)
{
    if (!net || !cvy_batch_infers(batch, y))
        return -1;
    for (int m = 0; m < batch->n; m++) {
        run(net, &net->one, 1, batch->x + m * INT64_C(${n.input_floats})${n.no_step});
        memcpy(y + (int64_t)m * ${n.classes}, net->one.${n.logits}, sizeof(float) * ${n.classes});
    }
    return 0;
}
//$ end

//$ define plain_layout
/* ${n.name}_layout.h - the network's tensors by name. Not for users. ${n.licence} */
#ifndef ${n.NAME}_LAYOUT_H
#define ${n.NAME}_LAYOUT_H

#include "runtime/cvy_names.h"

#include "${n.name}.h"
#include "runtime/cvy_kernels.h"

/* What each op makes of n images, [n][channels][height][width]. */
struct ${n.name}_values {
    //$ for v in n.values
    float *${v.name}; /* ${v.doc} */
    //$ end
};

struct weights {
    void *w;  /* conv [O][C][K][L], linear [O][C]: floats */
    float *b; /* [O], or NULL */
};
struct norm {
    float *gamma, *beta, *mean, *var; /* [C]; mean and var: the running ones */
    int64_t *batches;                 /* that they have seen */
};
struct ${n.name}_params {
    //$ for p in n.params
    struct ${p.kind} ${p.name};
    //$ end
};

struct ${n.name} {
    struct cvy_net net;
    struct ${n.name}_params p;
    struct ${n.name}_values one; /* of one image, for inference */
    //$ if n.train
    struct ${n.name}_params g;
    struct ${n.name}_values v, d;
    float *gradients, *grad; /* all of d, all of g */
    struct cvy_batch batch;  /* of the last forward */
    //$ end
};
//$ if n.train
//$ if n.drops
int ${n.name}_keeps(uint64_t key, uint32_t i, uint32_t below);
//$ end
//$ end

#endif
//$ end

//$ define plain_model
/* ${n.name}_model.c - where everything lies in memory, and the network as the runtime sees it. ${n.licence} */
#include "${n.name}_layout.h"

#include <string.h>

typedef char ${n.name}_fits_its_place[sizeof(struct ${n.name}) <= ${n.struct_bytes} ? 1 : -1];

static const float input_mean[] = {${n.mean}}, input_std[] = {${n.std}};

/* PyTorch's names and layouts: an array of each, one behind the other. */
static const struct cvy_tensor tensors[] = {
    //$ for t in n.tensors
    {"${t.name}", ${t.role}, {${t.ndim}, {${t.dim}}, {${t.block}}, {${t.outer}}, {${t.inner}}, ${t.at}}, ${t.draw}, ${t.value}},
    //$ end
};

/* What it computes, a line per op: checkpoints carry it. */
static const char *const identity[] = {
    //$ for l in n.identity
    "${l.line}",
    //$ end
    NULL,
};

/* Gives each tensor of n images its place, from `at` on. Returns the end. */
static float *place_values(struct ${n.name}_values *v, float *at, int64_t n)
{
    //$ for v in n.values
    v->${v.name} = at, at += n * INT64_C(${v.floats});
    //$ end
    return at;
}

//$ if n.norms
static void place_params(struct ${n.name}_params *p, float *param, float *running, int64_t *batches)
//$ else
static void place_params(struct ${n.name}_params *p, float *param)
//$ end
{
    //$ for p in n.params
    p->${p.name} = (struct ${p.kind}){${p.place}};
    //$ end
}

int ${n.name}_supported(void)
{
    return 1;
}

struct ${n.name} *${n.name}_init(void *memory, size_t bytes, int batch, int threads)
{
    const size_t needed = ${n.name}_arena_bytes(batch, threads);

    if (!memory || (uintptr_t)memory % 64 || needed == 0 || bytes < needed || (batch != 0 && batch < ${n.min_batch}))
        return NULL;
    struct ${n.name} *const net = (struct ${n.name} *)memory;
    int64_t *const batches = (int64_t *)(void *)((char *)memory + ${n.struct_bytes});
    float *at = (float *)(void *)($[batches + ${n.batches}]);

    memset(memory, 0, ${n.fixed_bytes} + (batch > 0 ? ${n.train_bytes} : 0));
    net->net.batch = batch;
    net->net.threads = 1;
    net->net.optimiser = ${n.name}_model.train.optimiser;
    net->net.floats = ${n.learning_floats};
    net->net.batches = batches;
    net->net.param = at;
    net->net.running = at += ${n.param_floats};
    //$ if n.train
    at = place_values(&net->one, $[at + ${n.running_floats}], 1);
    //$ else
    place_values(&net->one, $[at + ${n.running_floats}], 1);
    //$ end
    place_params(&net->p, net->net.param${n.place_norms});
    //$ if n.train
    if (batch > 0) {
        net->net.state = at;
        net->grad = at += ${n.state_floats};
        place_params(&net->g, net->grad${n.place_norms});
        net->gradients = place_values(&net->v, at + ${n.param_floats}, batch);
        place_values(&net->d, net->gradients, batch);
    }
    //$ end
    return net;
}

size_t ${n.name}_arena_bytes(int batch, int threads)
{
    //$ if n.train
    const uint64_t most = SIZE_MAX / 4, images = batch < 0 ? 0 : (uint64_t)batch;

    if (batch < 0 || threads < 1 || threads > 4096 || images > most / (${n.image_bytes} + UINT64_C(1)))
        return 0;
    const uint64_t bytes = UINT64_C(${n.fixed_bytes}) + (batch > 0 ? UINT64_C(${n.train_bytes}) : 0) + images * ${n.image_bytes};
    return bytes > most ? 0 : (size_t)bytes;
    //$ else
    return batch < 0 || threads < 1 || threads > 4096 ? 0 : ${n.fixed_bytes};
    //$ end
}

int ${n.name}_fold(struct ${n.name} *net)
{
    return net ? 0 : -1; /* norms stay what they are */
}

static struct cvy_net *model_init(void *memory, size_t bytes, int batch, int threads)
{
    return (struct cvy_net *)(void *)${n.name}_init(memory, bytes, batch, threads);
}
//$ if n.train
static double model_forward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    return ${n.name}_forward((struct ${n.name} *)(void *)net, batch, step, score);
}
static int model_backward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step)
{
    return ${n.name}_backward((struct ${n.name} *)(void *)net, batch, step);
}
//$ end
static int model_fold(struct cvy_net *net)
{
    return ${n.name}_fold((struct ${n.name} *)(void *)net);
}
static int model_infer(struct cvy_net *net, const struct cvy_batch *batch, float *y)
{
    return ${n.name}_infer((struct ${n.name} *)(void *)net, batch, y);
}

const struct cvy_model ${n.name}_model = {
    "${n.name}", "${n.order}", "${n.target}", "${n.hash}",
    ${n.c}, ${n.h}, ${n.w}, ${n.classes},
    tensors, sizeof tensors / sizeof *tensors,
    ${n.param_floats}, ${n.running_floats}, ${n.batches},
    ${n.stored_bytes}, INT64_C(${n.flops}), ${n.min_batch},
    {"${n.data}", ${n.epochs}, ${n.batch}, &cvy_${n.loss}, &cvy_${n.optimiser}, ${n.lr}, {${n.hyper}}, ${n.weight_decay}, ${n.decay_all}, "${n.schedule}",
     {${n.setting}},
     input_mean, input_std, UINT64_C(${n.seed}), ${n.class_weight}, "${n.augment}"},
    //$ if n.train
    ${n.name}_arena_bytes, model_init, model_forward, model_backward, model_fold, model_infer, identity,
    //$ else
    ${n.name}_arena_bytes, model_init, NULL, NULL, model_fold, model_infer, identity,
    //$ end
};
//$ end

//$ define plain_trace
/* ${n.name}_trace.c - hands over what forward has stored, for `${n.name} trace`. ${n.licence} */
#include "${n.name}_layout.h"

static void hand(cvy_sink sink, void *user, const char *name, const float *data, int n, int c, int h, int w)
{
    const struct cvy_layout at = {4, {n, c, h, w}, {1, 1, 1, 1}, {(int64_t)c * h * w, (int64_t)h * w, w, 1}, {0, 0, 0, 0}, 0};

    sink(user, name, data, &at);
}

//$ if n.drops
/* 1 where dropout keeps an element, else 0. */
static float *mask(const char *stage, int n, uint32_t size, uint32_t below, const struct cvy_step *step, float *to)
{
    for (int m = 0; m < n; m++) {
        const uint64_t key = cvy_drop_key(cvy_stage(stage), step, m);
        for (uint32_t i = 0; i < size; i++)
            to[(int64_t)m * size + i] = (float)${n.name}_keeps(key, i, below);
    }
    return to;
}

//$ end
static int trace(struct cvy_net *base, const struct cvy_batch *batch, const struct cvy_step *step, float *scratch, cvy_sink sink, void *user)
{
    const struct ${n.name} *const net = (const struct ${n.name} *)(void *)base;

    if (!net || !batch || !batch->x || !step || !scratch || !sink || batch->n < 1 || batch->n != net->batch.n)
        return -1;
    const int n = batch->n;
    const struct ${n.name}_values *const v = &net->v;
    //$ for t in n.traces
    //$ if t.mask
    hand(sink, user, "mask.${t.path}", mask("${t.path}", n, ${t.floats}, ${t.below}, step, scratch), n, ${t.c}, ${t.h}, ${t.w});
    //$ end
    hand(sink, user, "act.${t.path}", ${t.value}, n, ${t.c}, ${t.h}, ${t.w});
    //$ end
    return 0;
}

static size_t trace_floats(int n)
{
    return n < 1 ? 0 : $[(size_t)n * ${n.trace_floats}];
}

const struct cvy_tracer ${n.name}_tracer = {trace, trace_floats};
//$ end

//$ define plain_bench
/* ${n.name}_bench.c - forward, backward and inference, and what they cost, for `${n.name} bench`. Part of the program, not of the library.
 * ${n.licence} */
#define CVY_PORTABLE 1

#include "${n.name}_layout.h"

#include "runtime/cvy_bench.h"

extern const struct cvy_bench ${n.name}_bench;

//$ if n.train
static void bench_forward(const struct cvy_bench_call *c)
{
    struct ${n.name} *const net = (struct ${n.name} *)(void *)c->net;

    ${n.name}_forward(net, &net->batch, c->step, NULL);
}

static void bench_backward(const struct cvy_bench_call *c)
{
    struct ${n.name} *const net = (struct ${n.name} *)(void *)c->net;

    ${n.name}_backward(net, &net->batch, c->step);
}

//$ end
static void bench_infer(const struct cvy_bench_call *c)
{
    const struct cvy_batch one = {c->x + c->image * INT64_C(${n.input_floats}), NULL, NULL, 1};
    float y[${n.classes}];

    ${n.name}_infer((struct ${n.name} *)(void *)c->net, &one, y);
}

/* FLOPs of an image, useful and executed; bytes to and from memory, for an image and for a step, as if each op read and wrote its tensors once. */
//$ if n.train
static const struct cvy_bench_kernel training[] = {
    {"forward", ${n.forward_costs}, bench_forward},
    {"backward", ${n.backward_costs}, bench_backward},
};
//$ end
static const struct cvy_bench_kernel inference[] = {
    {"infer", ${n.infer_costs}, bench_infer},
};

const struct cvy_bench ${n.name}_bench = {
    //$ if n.train
    training, sizeof training / sizeof *training,
    //$ else
    NULL, 0,
    //$ end
    inference, sizeof inference / sizeof *inference,
    cvy_peak, cvy_stream,
};
//$ end
