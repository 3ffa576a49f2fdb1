// A network for reading: recurrent layers. `n` is the network's record. Each op is a function forward and, right below it, one backward. Where the network
// does not train, the lines for that are left out.

//$ define plain_recurrent
/* Recurrent layers walk along the length: step t reads x[.][t] and the h that step t - 1 left, zeros before the first. A gate is a row r of two products,
 * W x + b and U h + b', with all gates' rows one after the other. kept[t] is what a step leaves: its gates, and last its h. */
struct recurrent {
    int C, L, H;                         /* input C x L, H hidden units */
    enum { LAST, ALL, MEAN, MAX } gives; /* y: h of the last step, [H]; of all, [H][L]; their mean; the largest of each unit */
    int relu;                            /* of rnn: relu, not tanh */
};

static float logistic(float v)
{
    return 1 / (1 + expf(-v));
}

/* b[r] + sum over c of w[r][c] x[c]; x has elements `apart` from each other, NULL: it is zero */
static float row_forward(int C, int r, const float *w, const float *b, const float *x, int apart)
{
    float sum = b ? b[r] : 0;

    for (int c = 0; x && c < C; c++)
        sum += w[(int64_t)r * C + c] * x[(int64_t)c * apart];
    return sum;
}
//$ if n.train

/* d is the gradient of that: dw[r][c] = sum of d x[c], db[r] = sum of d, dx[c] = sum of d w[r][c] */
static void row_backward(int C, int r, const float *w, const float *x, int apart, float d, float *dw, float *db, float *dx)
{
    for (int c = 0; c < C; c++) {
        if (dw && x) /* dw NULL: the layer is frozen */
            dw[(int64_t)r * C + c] += d * x[(int64_t)c * apart];
        if (dx) /* NULL: nobody wants it */
            dx[(int64_t)c * apart] += d * w[(int64_t)r * C + c];
    }
    if (db)
        db[r] += d;
}
//$ end

/* Which step's h of a unit is the largest, the first of equals; h stands `apart` floats from the next step's. */
static int largest_step(const struct recurrent *k, const float *h, int apart)
{
    int best = 0;

    for (int t = 1; t < k->L && !isnan(h[(int64_t)best * apart]); t++)
        if (!(h[(int64_t)t * apart] <= h[(int64_t)best * apart]))
            best = t;
    return best;
}

/* y, of the h of all steps, `apart` floats from one to the next */
static void return_forward(const struct recurrent *k, const float *h, int apart, float *y)
{
    for (int o = 0; o < k->H; o++, h++) {
        float sum = 0;
        for (int t = 0; t < k->L; t++) {
            if (k->gives == ALL)
                y[(int64_t)o * k->L + t] = h[(int64_t)t * apart];
            sum += h[(int64_t)t * apart];
        }
        if (k->gives == LAST)
            y[o] = h[(int64_t)(k->L - 1) * apart];
        else if (k->gives == MEAN)
            y[o] = sum / (float)k->L;
        else if (k->gives == MAX)
            y[o] = h[(int64_t)largest_step(k, h, apart) * apart];
    }
}
//$ if n.train

/* the gradient of y is that of h: of the steps that y is of */
static void return_backward(const struct recurrent *k, const float *h, int apart, const float *dy, float *dh)
{
    for (int o = 0; o < k->H; o++, h++, dh++) {
        const int one = k->gives == LAST ? k->L - 1 : k->gives == MAX ? largest_step(k, h, apart) : -1;
        for (int t = 0; t < k->L; t++)
            if (k->gives == ALL)
                dh[(int64_t)t * apart] += dy[(int64_t)o * k->L + t];
            else if (k->gives == MEAN)
                dh[(int64_t)t * apart] += dy[o] / (float)k->L;
            else if (t == one)
                dh[(int64_t)t * apart] += dy[o];
    }
}
//$ end
//$ end

//$ define plain_rnn
/* rnn: h = tanh(W x + b + U h + b'), or relu. kept: h */
static void rnn_forward(const struct recurrent *k, int n, const float *x, const struct gates *p, void *steps, float *y)
{
    float (*kept)[k->L][k->H] = steps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++)
            for (int o = 0; o < k->H; o++) {
                const float v = row_forward(k->C, o, p->w, p->b, x + t, k->L) + row_forward(k->H, o, p->u, p->hidden_b, t ? kept[m][t - 1] : NULL, 1);
                kept[m][t][o] = !k->relu ? tanhf(v) : v <= 0 ? 0 : v;
            }
        return_forward(k, kept[m][0], k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: dsum = dh (1 - h h), or dh where relu's h is above zero */
static void rnn_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][k->H] = (void *)steps;
    float (*dh)[k->L][k->H] = dsteps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0], k->H, dy, dh[m][0]);
        for (int t = k->L - 1; t >= 0; t--)
            for (int o = 0; o < k->H; o++) {
                const float h = kept[m][t][o], d = !k->relu ? dh[m][t][o] * (1 - h * h) : h <= 0 ? 0 : dh[m][t][o];
                row_backward(k->C, o, p->w, x + t, k->L, d, g->w, g->b, dx ? dx + t : NULL);
                row_backward(k->H, o, p->u, t ? kept[m][t - 1] : NULL, 1, d, g->u, g->hidden_b, t ? dh[m][t - 1] : NULL);
            }
        dx = dx ? dx + (int64_t)k->C * k->L : NULL;
    }
}
//$ end
//$ end

//$ define plain_gru
/* gru: r, z = sigmoid(W x + b + U h + b'), n = tanh(W x + b + r (U h + b')), h = (1 - z) n + z h. kept: r, z, n, U h + b' of n, h */
static void gru_forward(const struct recurrent *k, int n, const float *x, const struct gates *p, void *steps, float *y)
{
    float (*kept)[k->L][5][k->H] = steps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++) {
            const float *const h = t ? kept[m][t - 1][4] : NULL;
            float (*const s)[k->H] = kept[m][t];
            for (int o = 0; o < k->H; o++) {
                for (int gate = 0; gate < 3; gate++) {
                    const int r = gate * k->H + o;
                    s[gate][o] = row_forward(k->C, r, p->w, p->b, x + t, k->L);
                    s[gate < 2 ? 4 : 3][o] = row_forward(k->H, r, p->u, p->hidden_b, h, 1);
                    if (gate < 2)
                        s[gate][o] = logistic(s[gate][o] + s[4][o]);
                }
                s[2][o] = tanhf(s[2][o] + s[0][o] * s[3][o]);
                s[4][o] = (1 - s[1][o]) * s[2][o] + (h ? s[1][o] * h[o] : 0);
            }
        }
        return_forward(k, kept[m][0][4], 5 * k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: of dh come the gradients of z's and n's sums, of n's that of r's and of U h + b' */
static void gru_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][5][k->H] = (void *)steps;
    float (*d)[k->L][5][k->H] = dsteps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0][4], 5 * k->H, dy, d[m][0][4]);
        for (int t = k->L - 1; t >= 0; t--)
            for (int o = 0; o < k->H; o++) {
                const float *const h = t ? kept[m][t - 1][4] : NULL;
                float *const back = t ? d[m][t - 1][4] : NULL;
                const float r = kept[m][t][0][o], z = kept[m][t][1][o], c = kept[m][t][2][o], dh = d[m][t][4][o];
                const float dc = dh * (1 - z) * (1 - c * c);
                const float sum[3] = {dc * kept[m][t][3][o] * r * (1 - r), dh * ((h ? h[o] : 0) - c) * z * (1 - z), dc};
                for (int gate = 0; gate < 3; gate++) {
                    const int row = gate * k->H + o;
                    row_backward(k->C, row, p->w, x + t, k->L, sum[gate], g->w, g->b, dx ? dx + t : NULL);
                    row_backward(k->H, row, p->u, h, 1, gate == 2 ? dc * r : sum[gate], g->u, g->hidden_b, back);
                }
                if (back)
                    back[o] += dh * z;
            }
        dx = dx ? dx + (int64_t)k->C * k->L : NULL;
    }
}
//$ end
//$ end

//$ define plain_lstm
/* lstm: i, f, o = sigmoid(W x + b + U h + b'), g = tanh(the same), c = f c + i g, h = o tanh(c). kept: i, f, g, o, c, h */
static void lstm_forward(const struct recurrent *k, int n, const float *x, const struct gates *p, void *steps, float *y)
{
    float (*kept)[k->L][6][k->H] = steps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++) {
            float (*const s)[k->H] = kept[m][t];
            for (int o = 0; o < k->H; o++) {
                for (int gate = 0; gate < 4; gate++) {
                    const int r = gate * k->H + o;
                    const float v = row_forward(k->C, r, p->w, p->b, x + t, k->L) + row_forward(k->H, r, p->u, p->hidden_b, t ? kept[m][t - 1][5] : NULL, 1);
                    s[gate][o] = gate == 2 ? tanhf(v) : logistic(v);
                }
                s[4][o] = (t ? s[1][o] * kept[m][t - 1][4][o] : 0) + s[0][o] * s[2][o];
                s[5][o] = s[3][o] * tanhf(s[4][o]);
            }
        }
        return_forward(k, kept[m][0][5], 6 * k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: of dh and dc come the gradients of the gates' sums, and dc of the step before */
static void lstm_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][6][k->H] = (void *)steps;
    float (*d)[k->L][6][k->H] = dsteps;

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0][5], 6 * k->H, dy, d[m][0][5]);
        for (int t = k->L - 1; t >= 0; t--)
            for (int u = 0; u < k->H; u++) {
                const float i = kept[m][t][0][u], f = kept[m][t][1][u], j = kept[m][t][2][u], o = kept[m][t][3][u];
                const float y = tanhf(kept[m][t][4][u]), dh = d[m][t][5][u], dc = d[m][t][4][u] + dh * o * (1 - y * y);
                const float before = t ? kept[m][t - 1][4][u] : 0;
                const float sum[4] = {dc * j * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - j * j), dh * y * o * (1 - o)};
                for (int gate = 0; gate < 4; gate++) {
                    const int row = gate * k->H + u;
                    row_backward(k->C, row, p->w, x + t, k->L, sum[gate], g->w, g->b, dx ? dx + t : NULL);
                    row_backward(k->H, row, p->u, t ? kept[m][t - 1][5] : NULL, 1, sum[gate], g->u, g->hidden_b, t ? d[m][t - 1][5] : NULL);
                }
                if (t)
                    d[m][t - 1][4][u] += dc * f;
            }
        dx = dx ? dx + (int64_t)k->C * k->L : NULL;
    }
}
//$ end
//$ end
