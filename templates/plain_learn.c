// A network for reading: losses and optimisers. `n` is the network's record.

//$ define plain_mse
/* loss: the mean over the images and the outputs of (y - value)^2 */
static double mse_forward(int n, int C, const void *in, const float *values, const struct cvy_step *step, double *score)
{
    const float (*y)[C] = (void *)in, (*want)[C] = (void *)values;
    double loss = 0;

    (void)step;
    *score = 0;
    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++)
            loss += ((double)y[m][c] - want[m][c]) * ((double)y[m][c] - want[m][c]);
    return loss / ((double)n * C);
}

/* dy[c] = 2 (y[c] - value[c]) / (n C) */
static void mse_backward(int n, int C, const void *in, const float *values, const struct cvy_step *step, void *in_g)
{
    const float (*y)[C] = (void *)in, (*want)[C] = (void *)values;
    float (*dy)[C] = in_g;

    (void)step;
    for (int m = 0; m < n; m++)
        for (int c = 0; c < C; c++)
            dy[m][c] = (float)(2 * ((double)y[m][c] - want[m][c]) / ((double)n * C));
}
//$ end

//$ define plain_cross_entropy
/* What class c counts in what image m should be: its label, or of a mixed image two, of which each has a share; and of every class a little,
 * label smoothing */
static double loss_share(int m, int c, int C, const int *labels, const struct cvy_step *step)
{
    const double first = step->other ? (double)step->share[m] : 1, smooth = (double)step->label_smoothing;
    const double label = (c == labels[m] ? first : 0) + (step->other && c == step->other[m] ? 1 - first : 0);

    return (step->class_weight ? (double)step->class_weight[c] : 1) * ((1 - smooth) * label + smooth / C);
}

/* What the sum over the images is divided by: n, or the weights of their labels */
static double loss_weight(int n, const int *labels, const struct cvy_step *step)
{
    double sum = 0;

    for (int m = 0; m < n; m++) {
        const double first = step->other ? (double)step->share[m] : 1;
        sum += step->class_weight ? first * step->class_weight[labels[m]] : first;
        if (step->other)
            sum += (1 - first) * (step->class_weight ? (double)step->class_weight[step->other[m]] : 1);
    }
    return sum;
}

/* loss: the mean over the images of -log p[label], p[c] = exp(z[c]) / sum of exp(z); z less its largest, so that nothing overflows */
static double cross_entropy_forward(int n, int C, const void *in, const int *labels, const struct cvy_step *step, double *score)
{
    const float (*z)[C] = (void *)in;
    double loss = 0;

    *score = 0;
    for (int m = 0; m < n; m++) {
        const int second = step->other && step->share[m] < 0.5f;
        double sum = 0;
        int best = 0;
        for (int c = 1; c < C; c++)
            best = z[m][c] > z[m][best] ? c : best;
        for (int c = 0; c < C; c++)
            sum += exp((double)z[m][c] - z[m][best]);
        for (int c = 0; c < C; c++)
            if (loss_share(m, c, C, labels, step) > 0) /* 0 times infinity is no number */
                loss += loss_share(m, c, C, labels, step) * (log(sum) - ((double)z[m][c] - z[m][best]));
        *score += best == (second ? step->other[m] : labels[m]);
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
        double sum = 0, largest = z[m][0], all = 0;
        for (int c = 1; c < C; c++)
            largest = z[m][c] > largest ? z[m][c] : largest;
        for (int c = 0; c < C; c++) {
            sum += exp(z[m][c] - largest);
            all += loss_share(m, c, C, labels, step);
        }
        for (int c = 0; c < C; c++)
            dz[m][c] += (float)((all * exp(z[m][c] - largest) / sum - loss_share(m, c, C, labels, step)) / weight);
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
