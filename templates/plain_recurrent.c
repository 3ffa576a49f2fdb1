// A network for reading: recurrent layers. `n` is the network's record. Each op is a function forward and, right below it, one backward. Where the network
// does not train, the lines for that are left out.

//$ define plain_recurrent
/* Recurrent layers walk along the length: step t reads x[.][t] and the h that step t - 1 left, zeros before the first. A gate is a row r of two products,
 * W x + b and U h + b', with all gates' rows one after the other. kept[t] is what a step leaves: its gates, and last its h${n.kept_more}. */
//$ if n.cell_norms
/* A norm inside a step, of what an image has there: of n numbers in `groups` parts, 0: none stands there. raw: the mean counts as 0. What it reads stands
 * from row `at` of kept[t] on. */
struct cell_norm {
    int groups, raw, at;
    float eps;
};
//$ end
struct recurrent {
    int C, L, H;                         /* input C x L, H hidden units */
    enum { LAST, ALL, MEAN, MAX } gives; /* y: h of the last step, [H]; of all, [H][L]; their mean; the largest of each unit */
    int relu;                            /* of rnn: relu, not tanh */
    //$ if n.resets
    int before; /* of gru: n = tanh(W x + b + U (r h) + b'), and kept has r h in place of U h + b' of n */
    //$ end
    //$ if n.reverse_cells
    int reverse; /* step t reads the element t from the end, and, if all are returned, writes that */
    //$ end
    //$ if n.cell_norms
    int rows;    /* of H numbers that a step leaves */
    int carried; /* the next step has c as it is behind its norm */
    struct cell_norm input, recurrent, sum, cell, hidden; /* of W x; of U h; of both together; of c on its way to h; of the new h */
    //$ end
};

//$ if n.reverse_cells
/* the element that step t reads */
static int element(const struct recurrent *k, int t)
{
    return k->reverse ? k->L - 1 - t : t;
}

//$ end
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
//$ if n.cell_norms

/* y = gamma (v - mean) / sqrt(mean of (v - mean)^2 + eps) + beta */
static void cell_norm_forward(const struct cell_norm *k, int n, const struct affine *p, const float *v, float *y)
{
    const int size = n / k->groups;

    for (int first = 0; first < n; first += size) {
        float mean = 0, var = 0;
        for (int i = first; i < first + size && !k->raw; i++)
            mean += v[i] / (float)size;
        for (int i = first; i < first + size; i++)
            var += (v[i] - mean) * (v[i] - mean) / (float)size;
        for (int i = first; i < first + size; i++)
            y[i] = p->gamma[i] * ((v[i] - mean) / sqrtf(var + k->eps)) + (p->beta ? p->beta[i] : 0);
    }
}
//$ if n.train

/* dv = (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)) / sqrt(..), xhat = (v - mean) / sqrt(..), dgamma = sum of dy xhat, dbeta = sum of dy; dv may
 * be dy */
static void cell_norm_backward(const struct cell_norm *k, int n, const struct affine *p, const float *v, const float *dy, float *dv, const struct affine *g)
{
    const int size = n / k->groups;

    for (int first = 0; first < n; first += size) {
        float mean = 0, var = 0, one = 0, xhat_mean = 0;
        for (int i = first; i < first + size && !k->raw; i++)
            mean += v[i] / (float)size;
        for (int i = first; i < first + size; i++)
            var += (v[i] - mean) * (v[i] - mean) / (float)size;
        const float root = sqrtf(var + k->eps);
        for (int i = first; i < first + size; i++) {
            const float xhat = (v[i] - mean) / root;
            one += k->raw ? 0 : p->gamma[i] * dy[i] / (float)size;
            xhat_mean += p->gamma[i] * dy[i] * xhat / (float)size;
            if (g->gamma)
                g->gamma[i] += dy[i] * xhat;
            if (g->beta)
                g->beta[i] += dy[i];
        }
        for (int i = first; i < first + size; i++)
            dv[i] = (p->gamma[i] * dy[i] - one - (v[i] - mean) / root * xhat_mean) / root;
    }
}
//$ end

/* Puts v through the norm, where one stands, and keeps what it read. */
static void through_norm(const struct recurrent *k, const struct cell_norm *norm, int n, const struct affine *p, float *v, float *kept)
{
    if (!norm->groups)
        return;
    memcpy(kept + (int64_t)norm->at * k->H, v, sizeof(float) * (size_t)n);
    cell_norm_forward(norm, n, p, kept + (int64_t)norm->at * k->H, v);
}
//$ if n.train

static void back_through_norm(const struct recurrent *k, const struct cell_norm *norm, int n, const struct affine *p, const float *kept, float *d, const struct affine *g)
{
    if (norm->groups)
        cell_norm_backward(norm, n, p, kept + (int64_t)norm->at * k->H, d, d, g);
}
//$ end
//$ end

/* All rows of a step: xs = W x + b, us = U h + b'${n.sums_more}. h NULL: it is zero */
static void sums_forward(const struct recurrent *k, int rows, const float *x, const float *h, const struct gates *p, ${n.kept_to}float *xs, float *us)
{
    //$ if n.cell_norms
    for (int r = 0; r < rows; r++) {
        xs[r] = row_forward(k->C, r, p->w, NULL, x, k->L);
        us[r] = row_forward(k->H, r, p->u, NULL, h, 1);
    }
    through_norm(k, &k->input, rows, &p->input, xs, kept);
    through_norm(k, &k->recurrent, rows, &p->recurrent, us, kept);
    for (int r = 0; k->sum.groups && r < rows; r++) {
        xs[r] += us[r];
        us[r] = 0;
    }
    through_norm(k, &k->sum, rows, &p->sum, xs, kept);
    for (int r = 0; p->b && r < rows; r++) {
        xs[r] += p->b[r];
        us[r] += p->hidden_b[r];
    }
    //$ else
    for (int r = 0; r < rows; r++) {
        xs[r] = row_forward(k->C, r, p->w, p->b, x, k->L);
        us[r] = row_forward(k->H, r, p->u, p->hidden_b, h, 1);
    }
    //$ end
}
//$ if n.train

/* dxs, dus are the gradients of those${n.sums_used}; dx, dh are added to, NULL: nobody wants it */
static void sums_backward(const struct recurrent *k, int rows, const float *x, const float *h, const struct gates *p, ${n.kept_from}${n.sums_const}float *dxs, ${n.sums_const}float *dus, const struct gates *g, float *dx, float *dh)
{
    //$ if n.cell_norms
    for (int r = 0; g->b && r < rows; r++) {
        g->b[r] += dxs[r];
        g->hidden_b[r] += dus[r];
    }
    back_through_norm(k, &k->sum, rows, &p->sum, kept, dxs, &g->sum);
    for (int r = 0; k->sum.groups && r < rows; r++)
        dus[r] = dxs[r];
    back_through_norm(k, &k->input, rows, &p->input, kept, dxs, &g->input);
    back_through_norm(k, &k->recurrent, rows, &p->recurrent, kept, dus, &g->recurrent);
    //$ end
    for (int r = 0; r < rows; r++) {
        row_backward(k->C, r, p->w, x, k->L, dxs[r], g->w, ${n.db}, dx);
        row_backward(k->H, r, p->u, h, 1, dus[r], g->u, ${n.dc}, dh);
    }
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
                y[(int64_t)o * k->L + ${n.at}] = h[(int64_t)t * apart];
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
                dh[(int64_t)t * apart] += dy[(int64_t)o * k->L + ${n.at}];
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
    float (*kept)[k->L][${n.rows_rnn}][k->H] = steps, xs[k->H], us[k->H];

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++) {
            float *const h = kept[m][t][0];
            sums_forward(k, k->H, x + ${n.at}, t ? kept[m][t - 1][0] : NULL, p, ${n.kept_arg}xs, us);
            for (int o = 0; o < k->H; o++) {
                const float v = xs[o] + us[o];
                h[o] = !k->relu ? tanhf(v) : v <= 0 ? 0 : v;
            }
            //$ if n.cell_norms
            through_norm(k, &k->hidden, k->H, &p->hidden, h, kept[m][t][0]);
            //$ end
        }
        return_forward(k, kept[m][0][0], ${n.rows_rnn} * k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: dsum = dh (1 - h h), or dh where relu's h is above zero */
static void rnn_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][${n.rows_rnn}][k->H] = (void *)steps;
    float (*dh)[k->L][${n.rows_rnn}][k->H] = dsteps, dxs[k->H]${n.dus};

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0][0], ${n.rows_rnn} * k->H, dy, dh[m][0][0]);
        for (int t = k->L - 1; t >= 0; t--) {
            //$ if n.cell_norms
            back_through_norm(k, &k->hidden, k->H, &p->hidden, kept[m][t][0], dh[m][t][0], &g->hidden);
            //$ end
            for (int o = 0; o < k->H; o++) {
                const float h = kept[m][t][${n.raw_h}][o];
                dxs[o] = !k->relu ? dh[m][t][0][o] * (1 - h * h) : h <= 0 ? 0 : dh[m][t][0][o];
                //$ if n.cell_norms
                dus[o] = dxs[o];
                //$ end
            }
            sums_backward(k, k->H, x + ${n.at}, t ? kept[m][t - 1][0] : NULL, p, ${n.kept_arg}dxs, ${n.same}, g, dx ? dx + ${n.at} : NULL, t ? dh[m][t - 1][0] : NULL);
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
    float (*kept)[k->L][${n.rows_gru}][k->H] = steps, xs[3 * k->H], us[3 * k->H];

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++) {
            const float *const h = t ? kept[m][t - 1][4] : NULL;
            float (*const s)[k->H] = kept[m][t];
            sums_forward(k, 3 * k->H, x + ${n.at}, h, p, ${n.kept_arg}xs, us);
            //$ if n.resets
            for (int o = 0; k->before && o < k->H; o++)
                s[3][o] = h ? logistic(xs[o] + us[o]) * h[o] : 0;
            for (int o = 2 * k->H; k->before && o < 3 * k->H; o++)
                us[o] = row_forward(k->H, o, p->u, p->hidden_b, h ? s[3] : NULL, 1);
            //$ end
            for (int o = 0; o < k->H; o++) {
                s[0][o] = logistic(xs[o] + us[o]);
                s[1][o] = logistic(xs[k->H + o] + us[k->H + o]);
                //$ if n.resets
                if (!k->before)
                    s[3][o] = us[2 * k->H + o];
                s[2][o] = tanhf(xs[2 * k->H + o] + (k->before ? us[2 * k->H + o] : s[0][o] * s[3][o]));
                //$ else
                s[3][o] = us[2 * k->H + o];
                s[2][o] = tanhf(xs[2 * k->H + o] + s[0][o] * s[3][o]);
                //$ end
                s[4][o] = (1 - s[1][o]) * s[2][o] + (h ? s[1][o] * h[o] : 0);
            }
            //$ if n.cell_norms
            through_norm(k, &k->hidden, k->H, &p->hidden, s[4], s[0]);
            //$ end
        }
        return_forward(k, kept[m][0][4], ${n.rows_gru} * k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: of dh come the gradients of z's and n's sums, of n's that of r's and of U h + b' */
static void gru_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][${n.rows_gru}][k->H] = (void *)steps;
    float (*d)[k->L][${n.rows_gru}][k->H] = dsteps, dxs[3 * k->H], dus[3 * k->H];

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0][4], ${n.rows_gru} * k->H, dy, d[m][0][4]);
        for (int t = k->L - 1; t >= 0; t--) {
            const float *const h = t ? kept[m][t - 1][4] : NULL;
            float *const back = t ? d[m][t - 1][4] : NULL;
            //$ if n.cell_norms
            back_through_norm(k, &k->hidden, k->H, &p->hidden, kept[m][t][0], d[m][t][4], &g->hidden);
            //$ end
            for (int o = 0; o < k->H; o++) {
                const float r = kept[m][t][0][o], z = kept[m][t][1][o], c = kept[m][t][2][o], dh = d[m][t][4][o];
                const float dc = dh * (1 - z) * (1 - c * c);
                dxs[o] = dus[o] = dc * kept[m][t][3][o] * r * (1 - r);
                dxs[k->H + o] = dus[k->H + o] = dh * ((h ? h[o] : 0) - c) * z * (1 - z);
                dxs[2 * k->H + o] = dc;
                dus[2 * k->H + o] = dc * r;
                if (back)
                    back[o] += dh * z;
            }
            //$ if n.resets
            if (k->before) { /* n's rows of U read r h, and from there the gradient goes to r and to h */
                float drh[k->H];
                memset(drh, 0, sizeof drh);
                for (int o = 0; o < k->H; o++) {
                    row_backward(k->H, 2 * k->H + o, p->u, h ? kept[m][t][3] : NULL, 1, dxs[2 * k->H + o], g->u, g->hidden_b, drh);
                    dus[2 * k->H + o] = 0; /* they have been through */
                }
                for (int o = 0; o < k->H; o++) {
                    const float r = kept[m][t][0][o];
                    dxs[o] = dus[o] = drh[o] * (h ? h[o] : 0) * r * (1 - r);
                    if (back)
                        back[o] += drh[o] * r;
                }
            }
            //$ end
            sums_backward(k, 3 * k->H, x + ${n.at}, h, p, ${n.kept_arg}dxs, dus, g, dx ? dx + ${n.at} : NULL, back);
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
    float (*kept)[k->L][${n.rows_lstm}][k->H] = steps, xs[4 * k->H], us[4 * k->H]${n.behind};

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, y += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        for (int t = 0; t < k->L; t++) {
            float (*const s)[k->H] = kept[m][t];
            sums_forward(k, 4 * k->H, x + ${n.at}, t ? kept[m][t - 1][5] : NULL, p, ${n.kept_arg}xs, us);
            for (int o = 0; o < k->H; o++) {
                for (int gate = 0; gate < 4; gate++) {
                    const float v = xs[gate * k->H + o] + us[gate * k->H + o];
                    s[gate][o] = gate == 2 ? tanhf(v) : logistic(v);
                }
                s[4][o] = (t ? s[1][o] * kept[m][t - 1][4][o] : 0) + s[0][o] * s[2][o];
                //$ if n.cell_norms
                behind[o] = s[4][o];
            }
            through_norm(k, &k->cell, k->H, &p->cell, behind, s[0]);
            for (int o = 0; o < k->H; o++) {
                if (k->carried)
                    s[4][o] = behind[o];
                s[5][o] = s[3][o] * tanhf(behind[o]);
            }
            through_norm(k, &k->hidden, k->H, &p->hidden, s[5], s[0]);
            //$ else
                s[5][o] = s[3][o] * tanhf(s[4][o]);
            }
            //$ end
        }
        return_forward(k, kept[m][0][5], ${n.rows_lstm} * k->H, y);
    }
}
//$ if n.train

/* through the steps, the last first: of dh and dc come the gradients of the gates' sums, and dc of the step before */
static void lstm_backward(const struct recurrent *k, int n, const float *x, const struct gates *p, const void *steps, const float *dy, void *dsteps, float *dx, const struct gates *g)
{
    const float (*kept)[k->L][${n.rows_lstm}][k->H] = (void *)steps;
    float (*d)[k->L][${n.rows_lstm}][k->H] = dsteps, dxs[4 * k->H]${n.dus_4}${n.behind};

    for (int m = 0; m < n; m++, x += (int64_t)k->C * k->L, dy += (int64_t)k->H * (k->gives == ALL ? k->L : 1)) {
        return_backward(k, kept[m][0][5], ${n.rows_lstm} * k->H, dy, d[m][0][5]);
        for (int t = k->L - 1; t >= 0; t--) {
            //$ if n.cell_norms
            float *const dh = d[m][t][5], *const dc = d[m][t][4];
            back_through_norm(k, &k->hidden, k->H, &p->hidden, kept[m][t][0], dh, &g->hidden);
            memcpy(behind, kept[m][t][4], sizeof(float) * (size_t)k->H);
            if (k->cell.groups)
                cell_norm_forward(&k->cell, k->H, &p->cell, kept[m][t][k->cell.at], behind);
            for (int u = 0; u < k->H; u++) { /* dc: of what h has, and, where that is carried, of the step after */
                const float o = kept[m][t][3][u], y = tanhf(behind[u]);
                dxs[3 * k->H + u] = dh[u] * y * o * (1 - o);
                dh[u] = dh[u] * o * (1 - y * y) + (k->carried ? dc[u] : 0);
            }
            back_through_norm(k, &k->cell, k->H, &p->cell, kept[m][t][0], dh, &g->cell);
            for (int u = 0; u < k->H; u++)
                dc[u] = dh[u] + (k->carried ? 0 : dc[u]);
            //$ end
            for (int u = 0; u < k->H; u++) {
                const float i = kept[m][t][0][u], f = kept[m][t][1][u], j = kept[m][t][2][u], before = t ? kept[m][t - 1][4][u] : 0;
                //$ if n.cell_norms
                const float dsum = dc[u];
                //$ else
                const float o = kept[m][t][3][u], y = tanhf(kept[m][t][4][u]), dh = d[m][t][5][u], dsum = d[m][t][4][u] + dh * o * (1 - y * y);
                dxs[3 * k->H + u] = dh * y * o * (1 - o);
                //$ end
                dxs[u] = dsum * j * i * (1 - i);
                dxs[k->H + u] = dsum * before * f * (1 - f);
                dxs[2 * k->H + u] = dsum * i * (1 - j * j);
                if (t)
                    d[m][t - 1][4][u] += dsum * f;
            }
            //$ if n.cell_norms
            memcpy(dus, dxs, sizeof(float) * 4 * (size_t)k->H);
            //$ end
            sums_backward(k, 4 * k->H, x + ${n.at}, t ? kept[m][t - 1][5] : NULL, p, ${n.kept_arg}dxs, ${n.same}, g, dx ? dx + ${n.at} : NULL, t ? d[m][t - 1][5] : NULL);
        }
        dx = dx ? dx + (int64_t)k->C * k->L : NULL;
    }
}
//$ end
//$ end
