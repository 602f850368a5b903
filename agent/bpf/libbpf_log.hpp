// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What did libbpf say while this operation ran? Its messages go into the error that we return, never to the terminal.
#pragma once

#include <string>

namespace weft::bpf {

/// While one lives, libbpf's messages of this thread are collected; messages without a collector are dropped.
class LibbpfLog {
public:
    LibbpfLog();
    ~LibbpfLog();
    LibbpfLog(const LibbpfLog&) = delete;
    LibbpfLog& operator=(const LibbpfLog&) = delete;

    /// The last lines in one, joined by " | "; empty when nothing was said.
    [[nodiscard]] std::string tail() const;

private:
    std::string text_;
    std::string* outer_;
};

} // namespace weft::bpf
