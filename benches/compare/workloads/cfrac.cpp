// Like cfrac: small numbers of a few limbs are made, used once and dropped, with few alive at a time.
// Argument: rounds.

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace {

using Limbs = std::unique_ptr<uint32_t[]>;

Limbs next_number(const Limbs &from, int length, uint32_t factor)
{
    Limbs product(new uint32_t[length + 1]);
    uint64_t carry = 1;
    for (int limb = 0; limb < length; limb++) {
        carry += static_cast<uint64_t>(from[limb]) * factor;
        product[limb] = static_cast<uint32_t>(carry);
        carry >>= 32;
    }
    product[length] = static_cast<uint32_t>(carry);
    return product;
}

} // namespace

int main(int argument_count, char **arguments)
{
    long rounds = argument_count > 1 ? atol(arguments[1]) : 1'000;
    uint32_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        Limbs number(new uint32_t[1]{static_cast<uint32_t>(round)});
        for (int length = 1; length < 12; length++)
            number = next_number(number, length, 2654435761U);
        sum += number[11];
    }
    return sum == 42;
}
