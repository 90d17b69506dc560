/* Firmware of the bench: boot, say who we are, answer commands for ever. */
#include "bench_command.h"
#include "bench_console.h"
#include "bench_time.h"
#include "board_config.h"
#include "build_info.h"
#include "port.h"

int main(void) {
    port_init();
    bench_time_init();
    console_text("m-init-done\r\n");
    hil_begin("boot");
    hil_text("build", build_id);
    hil_text("board", BOARD_ID);
    hil_text("reset", port_reset_cause());
    hil_end();
    console_text("m-ready\r\n");
    for (;;) {
        command_state_t state;
        char *const text = console_command(&state);
        command_execute(text, state);
        console_text("m-ready\r\n");
    }
}
