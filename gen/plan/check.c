/* check.c - whether a plan contradicts itself. It always runs.
 *
 * needs: a complete plan. sets: nothing; it aborts where a pass is wrong. */
#include "names.h"
#include "passes.h"

static void check_place(const Kernel *k, const PixelPass *r, const Place *p, int nimage)
{
    if (p->where == AT_IMAGE && p->image >= nimage)
        BUG("pass %s of %s names an image that is not there", r->name, k->name);
    if ((p->where == AT_SLOT || p->where == AT_X) && (p->port < 0 || p->port >= k->nport))
        BUG("pass %s of %s names a port that is not there", r->name, k->name);
    if ((p->where == AT_SLOT || p->where == AT_IMAGE) && (p->first < 0 || p->first + r->shape.c > p->total) &&
        r->window < 0)
        BUG("pass %s of %s: channels %d and on, %d of them, of %d", r->name, k->name, p->first, r->shape.c, p->total);
}

/* Whether every value is computed before it is used. */
static void check_values(const PixelPass *r)
{
    bool *known = xalloc((size_t)r->next + 1);

    if (!r->back || r->value.where != NOWHERE)
        known[r->first] = true;
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        const bool makes = s->kind <= STEP_MASK || s->kind == STEP_ADD || s->kind == STEP_SKIP;
        const bool reads = s->kind != STEP_SKIP && s->kind != STEP_SPLIT && s->kind != STEP_GIVE &&
                           s->kind != STEP_BACK && s->kind != STEP_SCALE;
        if ((reads && (s->in < 0 || s->in >= r->next || !known[s->in])) || (s->kind == STEP_ADD && !known[s->in2]))
            BUG("pass %s uses v%d, which is not at hand", r->name, s->in);
        if (makes && (s->out < 0 || s->out >= r->next))
            BUG("pass %s makes v%d", r->name, s->out);
        if (makes)
            known[s->out] = true;
        if (s->g > r->grads)
            BUG("pass %s names gradient %d of %d", r->name, s->g, r->grads);
    }
}

static void check_chain(const Plan *p, const Kernel *k, const Chain *c, int nimage)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        check_place(k, r, &r->from, nimage);
        check_place(k, r, &r->value, nimage);
        check_place(k, r, &r->to, nimage);
        if (r->scatter_image >= nimage)
            BUG("pass %s names an image that is not there", r->name);
        if (r->window >= 0 && op_info[p->g->op[r->window].kind].cls != CLASS_WINDOW)
            BUG("pass %s starts with what is no window", r->name);
        if (r->from.where == NOWHERE)
            BUG("pass %s reads nothing", r->name);
        check_values(r);
    }
}

static void check_kernels(const Plan *p, const Kernel *list, int n)
{
    Names names = {0};

    for (int i = 0; i < n; i++) {
        const Kernel *k = &list[i];
        for (int j = 0; j < k->nin; j++) {
            check_chain(p, k, &k->before[j], k->nimage);
            if (k->din)
                check_chain(p, k, &k->din[j], k->nimage);
        }
        check_chain(p, k, kernel_chain(k, CHAIN_AFTER), k->nimage);
        check_chain(p, k, kernel_chain(k, CHAIN_AGAIN), k->nimage);
        check_chain(p, k, kernel_chain(k, CHAIN_DOUT), k->nimage);
        check_chain(p, k, &k->trace, k->ntrace_image);
        check_chain(p, k, &k->trace_pack, k->ntrace_image > k->nimage ? k->ntrace_image : k->nimage);
        if (++*names_at(&names, k->name) > 1)
            BUG("two kernels are called %s", k->name);
        if (k->conv && (k->w->forward.vectors < 1 || k->w->forward.out_blocks % k->w->forward.vectors))
            BUG("kernel %s has a tile that does not divide its channels", k->name);
        for (int j = 0; j < k->nport; j++)
            if (k->port[j].tensor != k->tensor && list == p->kernel && p->tensor[k->port[j].tensor].maker >= i)
                BUG("kernel %s reads what is made later", k->name);
    }
}

static void check_slots(const Plan *p)
{
    const char *wrong = plan_misordered(p);

    wrong = wrong ? wrong : plan_overlap(p);
    if (wrong)
        BUG("%s", wrong);
    for (int i = 0; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        if (nd->op == 0)
            continue;
        if (nd->grad && !nd->given)
            BUG("nobody gives a gradient to %s", p->g->op[nd->op].path);
        if (!nd->stored && p->tensor[nd->root].nlink && nd->root == i)
            BUG("%s is stored nowhere", p->g->op[nd->op].path);
    }
}

void plan_check(const Plan *p)
{
    check_kernels(p, p->kernel, p->nkernel);
    check_kernels(p, p->infer, p->ninfer);
    check_slots(p);
}
