/* What the shared half (src/bench_*) needs of a microcontroller.
 *
 * A family implements it in port/<family>/; port.json there names the folders it builds upon. All
 * facts of a board come from the generated board_config.h, so nothing here knows a board. */
#ifndef PORT_H
#define PORT_H

#include <stdint.h>

typedef struct {
    uint32_t core_hz;
    /* Of the core's clock, as the family calls it: "hse", or "hsi" when that did not start. */
    const char *source;
} port_clock_t;

/* Clocks, wait states, caches, console, timer and cycle counter. */
void port_init(void);
const port_clock_t *port_clock(void);

/* Wait for one byte; PORT_RX_ERROR is set when the UART flagged it (framing, noise, overrun). */
enum { PORT_RX_ERROR = 0x100 };
uint32_t port_console_read(void);
void port_console_write(uint8_t byte);
uint32_t port_console_waiting(void); /* whether port_console_read() would return at once */
/* Change the rate once everything has left; 0, and no change, where the divider cannot be had. */
uint32_t port_console_rate(uint32_t baud);

uint32_t port_cycles(void); /* core cycles, 32 bits, free running */
uint32_t port_ticks(void);  /* 1 MHz, 32 bits, free running */
void port_barrier(void);    /* all memory accesses done, pipeline refilled */
uint32_t port_lock(void);   /* interrupts off; returns what port_unlock() takes */
void port_unlock(uint32_t state);

void port_counter_ensure(void); /* start the cycle counter if a debugger has stopped it */
const char *port_counter(void); /* name of the cycle counter: "dwt", or "none" */
enum { PORT_ICACHE = 1, PORT_DCACHE = 2 };
uint32_t port_caches(void);         /* which caches are on, as the core's registers say */
int32_t port_art(void);             /* flash accelerator: 1 on, 0 off, -1 where there is none */
const char *port_reset_cause(void); /* "power-on", "pin", "software", "watchdog", ... */
void port_unique_id(uint32_t id[3]); /* the first BOARD_UID_WORDS of it */

uint32_t port_stack_bytes(void);
uint32_t port_stack_used(void); /* high-water mark of the painted stack */

int main(void);

#endif
