// A network for reading: activations. `n` is the network's record, `o` a kind of op that it has. Each op is a function forward and, right
// below it, one backward. Where the network does not train, or no conv has groups, say, the lines for that are left out.

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
