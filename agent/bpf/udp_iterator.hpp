// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How are another process's UDP sockets made to fail without knowing how the kernel would look them up? By
// bpf_sock_destroy from an iterator over one network namespace's UDP sockets, on kernels that have it (6.5 and later).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "weft/abi/socket.h"
#include "weft/base/result.hpp"

namespace weft::bpf {

class UdpIterator {
public:
    /// Loads the iterator. Error: this kernel has no bpf_sock_destroy, or no permission.
    static Result<UdpIterator> open();
    UdpIterator(UdpIterator&&) noexcept;
    UdpIterator& operator=(UdpIterator&&) noexcept;
    ~UdpIterator();

    /// Destroys those of `sockets` that are in the calling thread's network namespace and still connected to the same
    /// peer. For each: 0 when destroyed, an errno value when the kernel refused, or ENOENT when it was not met.
    Result<std::vector<int>> destroy(std::span<const weft_conn* const> sockets);

private:
    struct Loaded;
    explicit UdpIterator(std::unique_ptr<Loaded> loaded);
    std::unique_ptr<Loaded> loaded_;
};

} // namespace weft::bpf
