/* interrupt.h - a signal that asks for the end is answered between two rows, so that what is half made is removed. */
#ifndef CONVOY_INTERRUPT_H
#define CONVOY_INTERRUPT_H

void interrupt_begin(void);
int interrupt_end(void); /* the signal that came since, 0: none; signals do again what they did before */

#endif
