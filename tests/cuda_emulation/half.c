/* The compiler's own 16-bit numbers, which its C++ of this age does not have. */
#include <stdint.h>
#include <string.h>

float cuda_emulation_half_read(uint16_t bits);
uint16_t cuda_emulation_half_of_float(float value);
uint16_t cuda_emulation_half_of_double(double value);

float cuda_emulation_half_read(uint16_t bits) {
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    return (float)half;
}

uint16_t cuda_emulation_half_of_float(float value) {
    _Float16 half = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

uint16_t cuda_emulation_half_of_double(double value) {
    _Float16 half = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}
