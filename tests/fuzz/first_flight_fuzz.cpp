// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The first bytes of a stranger's connection, in every length: no crash, and once an answer is given it stays.
#include <cstdlib>
#include <span>

#include "weft/ktls/first_flight.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using weft::ktls::FirstFlight;
    const std::span<const std::uint8_t> bytes(data, size);
    const auto whole = weft::ktls::classify_first_flight(bytes);
    if (size > 0) {
        const auto part = weft::ktls::classify_first_flight(bytes.first(size / 2));
        if (part != FirstFlight::kNeedMore && part != whole) {
            std::abort();
        }
    }
    if (size >= weft::ktls::kFirstFlightMost && whole == FirstFlight::kNeedMore) {
        std::abort();
    }
    return 0;
}
