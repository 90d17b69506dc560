/* What the parts of the Armv7-M half share. */
#ifndef PORT_ARMV7M_H
#define PORT_ARMV7M_H

/* Bytes below the stack that nobody may touch, by region 0 of the MPU. */
enum { PORT_GUARD_BYTES = 4096 };

void port_fault(void);        /* every exception: report it on the console, then stay */
void port_guard_init(void);   /* guard the end of the stack */
void port_counter_init(void); /* start DWT's cycle counter */

#endif
