/* dropout.h - dropout: the mask is a function of (seed, stage, step, image, element), computed again wherever it is
 * needed.
 * SPDX-License-Identifier: 0BSD */

struct vf_drop {
    /* Element index of each lane at pixel 0, (c * height + y) * width + x, plus the key's first word. */
    vu lane;
    uint32_t key; /* second word */
};
/* Two rounds of a 32-bit mixer (xor-shift-multiply, constants of C. Wellons' hash prospector), keyed before and
 * between. */
CVY_INLINE vu vf_drop_bits(const struct vf_drop *d, int i)
{
    vu h = vu_add(d->lane, vu_set((uint32_t)i));
    h = vu_mul(vu_shift_xor(h, 16), vu_set(0x21f0aaadu));
    h = vu_mul(vu_shift_xor(h, 15), vu_set(0xd35a2d97u));
    h = vu_xor(vu_shift_xor(h, 15), vu_set(d->key));
    h = vu_mul(vu_shift_xor(h, 16), vu_set(0x21f0aaadu));
    h = vu_mul(vu_shift_xor(h, 15), vu_set(0xd35a2d97u));
    return vu_shift_xor(h, 15);
}
/* The first word of the key and the element index of each lane at pixel 0 of channel block c. */
CVY_INLINE vu vf_drop_lanes(uint64_t key, int c, int area)
{
    return vu_lanes((uint32_t)key + (uint32_t)c * (uint32_t)area, (uint32_t)area);
}
/* v / (1 - p) where the element is kept, else 0; drop_below = p * 2^32, scale = 1 / (1 - p). Its own backward. */
CVY_INLINE vf vf_dropout(const struct vf_drop *d, vf v, int i, uint32_t drop_below, float scale)
{
    return vu_if_at_least(vf_drop_bits(d, i), vu_set(drop_below), vf_mul(v, vf_set(scale)));
}
