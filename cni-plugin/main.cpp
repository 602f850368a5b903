// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-cni: the process around one call. Reads stdin whole, prints the outcome, and nothing else ever.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "cni-plugin/netconf.hpp"
#include "cni-plugin/run.hpp"

namespace {

using weft::cni::Outcome;

/// stdin up to one byte more than allowed, which decode() then refuses. False when it cannot be read.
bool read_input(std::string& input) {
    std::array<char, 16384> buffer{};
    while (input.size() <= weft::cni::kMaxInput) {
        const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (got == 0) {
            return true;
        }
        if (got > 0) {
            input.append(buffer.data(), static_cast<std::size_t>(got));
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool print(std::string_view text) {
    while (!text.empty()) {
        const ssize_t put = ::write(STDOUT_FILENO, text.data(), text.size());
        if (put > 0) {
            text.remove_prefix(static_cast<std::size_t>(put));
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

} // namespace

int main() {
    (void)std::signal(SIGPIPE, SIG_IGN); // a runtime that closed its end is told by the exit status
    std::string input;
    const Outcome outcome =
        read_input(input) ? weft::cni::run([](const char* name) -> const char* { return std::getenv(name); }, input)
                          : weft::cni::failed({weft::cni::Code::kIo, "stdin: cannot be read",
                                               "the runtime passes the network configuration there"},
                                              weft::cni::kVersions.back());
    return print(outcome.output) ? outcome.exit_status : 1;
}
