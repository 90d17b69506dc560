/* What the parts of the Armv7-M half share. */
#ifndef PORT_ARMV7M_H
#define PORT_ARMV7M_H

void port_fault(void);        /* every exception: report it on the console, then stay */
void port_counter_init(void); /* start DWT's cycle counter */

#endif
