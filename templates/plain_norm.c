// A network for reading: norms. `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right
// below it, one backward. Where the network does not train, or no conv has groups, say, the lines for that are left out.

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
