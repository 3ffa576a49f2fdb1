/* keys.c - typed values out of a tree: numbers, words, names, each with a clear error where it does not fit. */
#include "read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- maps ------------------------------------------------------------------------------------------------------ */

static bool unclosed(const Node *n)
{
    if (n->kind != NODE_SCALAR)
        return false;
    const char *open = strrchr(n->text, '(');
    return open && !strchr(open, ')');
}

bool keys_check(const Node *map, const char *what, const KeyInfo *keys)
{
    if (map->kind != NODE_MAP) {
        diag_error(map->mark, NULL, "%s must be a map of keys and values", what);
        return false;
    }
    const char *names[64];
    int n = 0, wrong = 0;
    for (const KeyInfo *k = keys; k->name; k++)
        if (!k->not_built && n < 63)
            names[n++] = k->name;
    names[n] = NULL;
    bool torn = false; /* {order: maxpool(3,2)}: the comma tore an order into keys without values */
    for (int i = 0; i < map->n && wrong < 20; i++) {
        const KeyInfo *k = keys;
        while (k->name && strcmp(k->name, map->key[i]->text) != 0)
            k++;
        torn = torn && text_is_null(map->item[i]);
        if (k->name && k->not_built) {
            diag_error(map->key[i]->mark, k->not_built, "'%s' is not built yet", k->name);
            wrong++;
        } else if (!k->name && !torn) {
            const char *known = known_key(map->key[i]->text, names);
            diag_error(map->key[i]->mark, known ? known : diag_choices(map->key[i]->text, names, "convoy help keys"),
                       "unknown key '%s' in %s", map->key[i]->text, what);
            wrong++;
        }
        torn = torn || unclosed(map->item[i]);
    }
    return true;
}

const KeyInfo *keys_find(const KeyInfo *keys, const char *name)
{
    for (; keys->name; keys++)
        if (strcmp(keys->name, name) == 0)
            return keys;
    BUG("no key '%s' in the table", name);
}

/* Of a real within its range: whether the ends themselves are allowed, where it is one. */
static bool want_inside(const KeyInfo *key, const Node *n, const char *what, double v)
{
    if (!(key->above_lo && v == key->lo) && !(key->below_hi && v == key->hi))
        return true;
    const char *hint = key->fallback ? xprintf("%s is the usual one", key->fallback) : NULL, *lo = real_text(key->lo),
               *hi = real_text(key->hi);
    if (key->above_lo)
        diag_error(n->mark, hint, "%s must lie between %s and %s", what, lo, hi);
    else
        diag_error(n->mark, hint, "%s must be at least %s and below %s, not %s", what, lo, hi, n->text);
    return false;
}

bool key_want(const KeyInfo *key, const Node *n, const char *what, KeyValue *out)
{
    switch (key->type) {
    case KEY_INT:
        return want_int(n, what, (int64_t)key->lo, key->hi >= 0x1p63 ? INT64_MAX : (int64_t)key->hi, &out->i);
    case KEY_REAL:
        return want_real(n, what, key->lo, key->hi, &out->real) && want_inside(key, n, what, out->real);
    case KEY_BOOL:
        return want_bool(n, what, &out->truth);
    case KEY_WORD:
        return want_word(n, what, key->words, &out->word);
    case KEY_SIZE:
        return want_pair(n, what, (int)key->lo, (int)key->hi, out->size);
    case KEY_SIDES:
        return want_sides(n, what, (int)key->hi, &out->sides);
    default:
        BUG("the key '%s' has a form of its own", key->name);
    }
}

bool key_int(const KeyInfo *keys, const Node *map, const char *of, const char *name, int *out)
{
    KeyValue v;
    const Node *n = keys_get(map, name);
    if (!n || !key_want(keys_find(keys, name), n, xprintf("%s.%s", of, name), &v))
        return false;
    *out = (int)v.i;
    return true;
}

bool key_real(const KeyInfo *keys, const Node *map, const char *of, const char *name, double *out)
{
    KeyValue v;
    const Node *n = keys_get(map, name);
    if (!n || !key_want(keys_find(keys, name), n, of ? xprintf("%s.%s", of, name) : name, &v))
        return false;
    *out = v.real;
    return true;
}

bool key_word(const KeyInfo *keys, const Node *map, const char *name, int *out)
{
    const Node *n = keys_get(map, name);
    return n && want_word(n, name, keys_find(keys, name)->words, out);
}

bool is_one_of(const Node *n, const char *const *words)
{
    for (; words && *words; words++)
        if (n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, *words) == 0)
            return true;
    return false;
}

Node *keys_get(const Node *map, const char *key)
{
    if (map->kind == NODE_MAP)
        for (int i = 0; i < map->n; i++)
            if (strcmp(map->key[i]->text, key) == 0)
                return map->item[i];
    return NULL;
}

Node *keys_get_key(const Node *map, const char *key)
{
    if (map->kind == NODE_MAP)
        for (int i = 0; i < map->n; i++)
            if (strcmp(map->key[i]->text, key) == 0)
                return map->key[i];
    return NULL;
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

bool text_is_null(const Node *n)
{
    return n->kind == NODE_SCALAR && !n->quoted &&
           (!*n->text || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0 || strcmp(n->text, "Null") == 0 ||
            strcmp(n->text, "NULL") == 0);
}

/* What a value is, for messages: "'abc'", "a list", "nothing". */
static const char *shown(const Node *n)
{
    if (n->kind == NODE_SEQ)
        return "a list";
    if (n->kind == NODE_MAP)
        return "a map";
    if (text_is_null(n))
        return "nothing";
    return n->quoted ? xprintf("the text \"%.60s\"", n->text) : xprintf("'%.60s'", n->text);
}

static const char *number_hint(const Node *n)
{
    if (n->kind != NODE_SCALAR)
        return NULL;
    if (strcmp(n->text, "valid") == 0)
        return "write 0";
    if (n->quoted)
        return "write it without quotes";
    const char *d = n->text + (*n->text == '-' || *n->text == '+');
    if (d[0] == '0' && d[1] >= '0' && d[1] <= '9')
        return "numbers are decimal: write it without leading zeros";
    if (d[0] == '0' && d[1] && strchr("xXoObB", d[1]))
        return "numbers are decimal";
    return NULL;
}

bool want_int(const Node *n, const char *what, int64_t lo, int64_t hi, int64_t *out)
{
    int64_t v;
    double real;
    bool plain = n->kind == NODE_SCALAR && !n->quoted;
    if (plain && text_int(n->text, &v)) {
        if (v >= lo && v <= hi) {
            *out = v;
            return true;
        }
        if (lo == INT64_MIN || hi == INT64_MAX)
            diag_error(n->mark, NULL, "%s must be at least %lld, not %s", what, (long long)lo, n->text);
        else
            diag_error(n->mark, NULL, "%s must be from %lld to %lld, not %s", what, (long long)lo, (long long)hi,
                       n->text);
    } else if (plain && text_real(n->text, &real) && real == floor(real) && real >= (double)lo && real <= (double)hi) {
        diag_error(n->mark, xprintf("write %.0f", real), "%s must be a whole number, not %s", what, shown(n));
    } else if (plain && text_real(n->text, &real)) {
        diag_error(n->mark, NULL, "%s must be a whole number from %lld to %lld, not %s", what, (long long)lo,
                   (long long)hi, shown(n));
    } else {
        diag_error(n->mark, number_hint(n), "%s must be a whole number, not %s", what, shown(n));
    }
    return false;
}

bool want_int32(const Node *n, const char *what, int lo, int hi, int *out)
{
    int64_t v;
    if (!want_int(n, what, lo, hi, &v))
        return false;
    *out = (int)v;
    return true;
}

bool want_real(const Node *n, const char *what, double lo, double hi, double *out)
{
    double v;
    if (n->kind != NODE_SCALAR || n->quoted || !text_real(n->text, &v)) {
        diag_error(n->mark, number_hint(n), "%s must be a number, not %s", what, shown(n));
        return false;
    }
    if (!(v >= lo && v <= hi)) {
        diag_error(n->mark, NULL, "%s must be from %s to %s, not %s", what, real_text(lo), real_text(hi), n->text);
        return false;
    }
    *out = v;
    return true;
}

bool want_bool(const Node *n, const char *what, bool *out)
{
    static const char *const yes[] = {"yes", "Yes", "YES", "on", "On", "ON", "y", "Y", "1", NULL};
    static const char *const no[] = {"no", "No", "NO", "off", "Off", "OFF", "n", "N", "0", NULL};
    const char *hint = NULL;
    if (n->kind == NODE_SCALAR && !n->quoted) {
        if (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0) {
            *out = n->text[0] == 't';
            return true;
        }
        for (int i = 0; yes[i]; i++)
            hint = strcmp(n->text, yes[i]) == 0 ? "write true" : hint;
        for (int i = 0; no[i]; i++)
            hint = strcmp(n->text, no[i]) == 0 ? "write false" : hint;
    }
    diag_error(n->mark, hint, "%s must be true or false, not %s", what, shown(n));
    return false;
}

bool want_word(const Node *n, const char *what, const char *const *words, int *out)
{
    if (n->kind != NODE_SCALAR) {
        diag_error(n->mark, diag_choices(NULL, words, NULL), "%s must be a word, not %s", what, shown(n));
        return false;
    }
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], n->text) == 0) {
            *out = i;
            return true;
        }
    diag_error(n->mark, diag_choices(n->text, words, NULL), "unknown %s %s", what, shown(n));
    return false;
}

int size_dims = 2;

bool want_pair(const Node *n, const char *what, int lo, int hi, int out[2])
{
    if (size_dims == 1) { /* the other direction has a height of 1: kernels and strides of 1, paddings of 0 */
        if (n->kind == NODE_SEQ) {
            diag_error(n->mark, "where the input is [channels, length], a size is the one along the length",
                       "%s must be a number, not a list", what);
            return false;
        }
        out[0] = lo;
        return want_int32(n, what, lo, hi, &out[1]);
    }
    if (n->kind == NODE_SEQ) {
        if (n->n != 2) {
            diag_error(n->mark, NULL, "%s must be a number or a pair [height, width], not a list of %d", what, n->n);
            return false;
        }
        bool first = want_int32(n->item[0], what, lo, hi, &out[0]);
        return want_int32(n->item[1], what, lo, hi, &out[1]) && first;
    }
    if (!want_int32(n, what, lo, hi, &out[0]))
        return false;
    out[1] = out[0];
    return true;
}

bool want_sides(const Node *n, const char *what, int hi, Sides *out)
{
    static const char *const lists[] = {"[left, right]", "[height, width] or [top, bottom, left, right]"};
    static const char *const words[] = {"same", NULL};
    int v[4];
    bool ok = true, fits = n->kind != NODE_SEQ || n->n == 2 || (n->n == 4 && size_dims == 2);
    if (node_says(n, "same")) {
        for (int d = 0; d < 2; d++)
            out->before[d] = out->after[d] = PADDING_SAME;
        return true;
    }
    if (n->kind == NODE_SEQ && n->n > 0 && n->item[0]->kind == NODE_SEQ) {
        diag_error(n->mark, xprintf("one list: %s", lists[size_dims - 1]), "%s must be a list of numbers, not of lists",
                   what);
        return false;
    }
    if (n->kind == NODE_MAP || text_is_null(n))
        return want_int32(n, what, 0, hi, v);
    if (!fits) {
        diag_error(n->mark, "same pads as Keras does", "%s must be a number, %s, or the word same, not a list of %d",
                   what, lists[size_dims - 1], n->n);
        return false;
    }
    int64_t number;
    double real;
    if (n->kind == NODE_SCALAR && !text_int(n->text, &number) && !text_real(n->text, &real)) {
        diag_error(n->mark,
                   number_hint(n)                 ? number_hint(n)
                   : diag_nearest(n->text, words) ? "did you mean 'same'?"
                                                  : NULL,
                   "%s must be a number, %s, or the word same, not %s", what, lists[size_dims - 1], shown(n));
        return false;
    }
    for (int i = 0; i < (n->kind == NODE_SEQ ? n->n : 1); i++)
        ok = want_int32(n->kind == NODE_SEQ ? n->item[i] : n, what, 0, hi, &v[i]) && ok;
    if (!ok)
        return false;
    if (n->kind != NODE_SEQ)
        v[3] = v[2] = v[1] = v[0];
    else if (n->n == 2 && size_dims == 2)
        v[3] = v[2] = v[1], v[1] = v[0];
    else if (n->n == 2)
        v[3] = v[1], v[2] = v[0];
    if (size_dims == 1) /* the height of 1 has none */
        v[0] = v[1] = 0;
    *out = (Sides){{v[0], v[2]}, {v[1], v[3]}};
    return true;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* Words that the languages around a network keep for themselves. */
static const char c_words[] =
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
    "asm typeof bool true false alignas alignof constexpr nullptr static_assert thread_local noreturn complex "
    "imaginary main linux unix i386";
static const char cpp_words[] =
    "and and_eq bitand bitor catch class compl concept const_cast consteval constinit co_await co_return co_yield "
    "decltype delete dynamic_cast explicit export friend module mutable namespace new noexcept not not_eq "
    "operator or or_eq private protected public reflexpr reinterpret_cast requires static_cast synchronized "
    "template this throw try typeid typename using virtual wchar_t char8_t char16_t char32_t xor xor_eq std "
    "import final override";
static const char python_words[] =
    "as assert async await def del elif except finally from global in is lambda nonlocal pass raise with yield "
    "print self torch nn";
/* A network's name is a C file, a program and a prefix: names of libc's headers, functions and the like are taken. */
static const char net_words[] =
    "runtime core makefile vf real assert ctype errno fenv inttypes iso646 limits locale math setjmp signal "
    "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar "
    "wchar wctype unistd pthread omp cblas zlib zconf jansson immintrin arm_neon strings sched fcntl dirent poll "
    "termios malloc memory features endian test all clean install";
/* NAME_WIDTH, which NAME.h has, is a macro of <limits.h> or <stdint.h> for these; NAME_ORDER, of the layout, one of
 * <endian.h>. */
static const char macro_words[] =
    "bool char schar uchar shrt ushrt int uint long ulong llong ullong int8 int16 int32 int64 uint8 uint16 uint32 "
    "uint64 "
    "int_least8 int_least16 int_least32 int_least64 uint_least8 uint_least16 uint_least32 uint_least64 "
    "int_fast8 int_fast16 int_fast32 int_fast64 uint_fast8 uint_fast16 uint_fast32 uint_fast64 "
    "intmax uintmax intptr uintptr ptrdiff size sig_atomic wchar wint byte";
/* NAME_init, NAME_get and the like are functions of libc or macros of its headers for these. */
static const char libc_words[] = "acc aio argz atomic atomic_flag_test_and cnd envz error_message fanotify fts fts64 "
                                 "inotify key_secretkey_is mtx pkey pmap sem timespec tss";
/* A struct called so is something else where C's or POSIX's headers are included: a macro, or a type. */
static const char header_words[] =
    "stdin stdout stderr math_errhandling sa_handler sa_sigaction st_atime st_ctime st_mtime sched_priority d_fileno "
    "sigev_notify_attributes sigev_notify_function si_addr si_addr_lsb si_arch si_band si_call_addr si_fd si_int "
    "si_lower si_overrun si_pid "
    "si_pkey si_ptr si_status si_stime si_syscall si_timerid si_uid si_upper si_utime si_value "
    "va_list memory_order once_flag fd_set fd_mask jmp_buf sigjmp_buf u_char u_int u_long u_short ushort ulong alloca";
/* A layer's name is a member of structs, a file NAME_<layer>.c, and a submodule of a PyTorch module. */
static const char layer_words[] =
    "input loss net model layout weights bench folded scratch forwarded piece_loss piece_score runtime core arena "
    "train eval forward backward infer fold init trace half to "
    "type cpu cuda ipu xpu apply extra_repr modules children parameters buffers named_modules named_children "
    "named_parameters named_buffers bfloat16 state_dict load_state_dict add_module register_module "
    "register_buffer register_parameter register_forward_hook register_forward_pre_hook "
    "register_full_backward_hook register_backward_hook requires_grad_ zero_grad share_memory training compile "
    "dump_patches get_parameter get_buffer get_submodule get_extra_state set_extra_state to_empty set_submodule "
    "hpu mtia call_super_init register_load_state_dict_post_hook register_load_state_dict_pre_hook "
    "register_full_backward_pre_hook register_state_dict_pre_hook register_state_dict_post_hook";

/* Whether w is one of the words. */
static bool has(const char *words, const char *w)
{
    size_t n = strlen(w);
    for (const char *p = words; (p = strstr(p, w)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

/* The nearest name that would do: lower case, '_' for what is not allowed. */
static const char *repaired(const char *s)
{
    Buf b = {0};
    for (; *s && b.len < 63; s++) {
        char c = *s >= 'A' && *s <= 'Z' ? (char)(*s + 32) : *s;
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (letter && !b.len && c <= '9')
            buf_puts(&b, "n");
        if (letter)
            buf_add(&b, &c, 1);
        else if (b.len && b.text[b.len - 1] != '_')
            buf_puts(&b, "_");
    }
    while (b.len && b.text[b.len - 1] == '_')
        b.text[--b.len] = '\0';
    return b.len ? xprintf("'%s' would do", b.text) : NULL;
}

bool want_name(const Node *n, NameUse use, const char **out)
{
    const char *what = use == NAME_NET ? "the network's name" : "a layer's name";
    const char *s = n->text;
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, NULL, "%s must be a word, not %s", what, shown(n));
        return false;
    }
    size_t len = strlen(s);
    bool ok = s[0] >= 'a' && s[0] <= 'z' && s[len - 1] != '_';
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');
        ok = ok && (letter || (s[i] == '_' && s[i + 1] != '_'));
    }
    if (!ok) {
        diag_error(
            n->mark, repaired(s),
            "%s must be lower-case letters, digits and single '_' between them, beginning with a letter, not '%.60s'",
            what, s);
        return false;
    }
    if (len > 63) {
        diag_error(n->mark, NULL, "%s must be at most 63 characters long, not %zu", what, len);
        return false;
    }
    const char *owner =
        strcmp(s, "null") == 0 ? "YAML keeps that word for itself"
        : has(c_words, s)      ? "C keeps that word for itself"
        : has(cpp_words, s)    ? "C++ keeps that word for itself"
        : has(python_words, s) ? "Python, which the PyTorch twin is written in, keeps that word for itself"
        : strncmp(s, "cvy", 3) == 0 && (!s[3] || s[3] == '_') ? "the runtime's names begin so"
        : strncmp(s, "core_", 5) == 0                         ? "emitted files begin so"
        : use == NAME_NET && has(net_words, s)                ? "a system header or a file of the build is called so"
        : use == NAME_NET && has(macro_words, s)  ? "a macro of C's headers begins so, as one of NAME.h would"
        : use == NAME_NET && has(header_words, s) ? "C's or POSIX's headers give it another meaning"
        : use == NAME_NET && (has(libc_words, s) || strncmp(s, "pthread_", 8) == 0 || strncmp(s, "posix_", 6) == 0 ||
                              strncmp(s, "inet6_", 6) == 0)
            ? "functions of libc begin so"
        : use == NAME_NET && strlen(s) > 2 && strcmp(s + strlen(s) - 2, "_t") == 0 ? "C's types end in _t"
        : use == NAME_LAYER && has(layer_words, s) ? "the emitted code or its PyTorch twin uses that name"
                                                   : NULL;
    if (owner) {
        diag_error(n->mark, xprintf("'%s_%s' would do", s, use == NAME_NET ? "net" : "layer"), "%s cannot be '%s': %s",
                   what, s, owner);
        return false;
    }
    *out = s;
    return true;
}

bool node_says(const Node *n, const char *word)
{
    return n && n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, word) == 0;
}
