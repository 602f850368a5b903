// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/conn_reader.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

Result<std::vector<weft_conn>> read_connections(int iterator_fd, int storage_fd) {
    bpf_iter_link_info target{};
    target.map.map_fd = static_cast<__u32>(storage_fd);
    DECLARE_LIBBPF_OPTS(bpf_link_create_opts, options);
    options.iter_info = &target;
    options.iter_info_len = sizeof target;
    const UniqueFd link(bpf_link_create(iterator_fd, 0, BPF_TRACE_ITER, &options));
    if (!link.valid()) {
        return system_failure("binding the socket iterator to its map");
    }
    const UniqueFd file(bpf_iter_create(link.get()));
    if (!file.valid()) {
        return system_failure("starting the socket iterator");
    }
    std::vector<std::byte> bytes;
    std::vector<std::byte> chunk(64 * 1024);
    for (;;) {
        const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue; // the iterator yields after a million sockets
        }
        if (got < 0) {
            return system_failure("reading the socket iterator");
        }
        if (got == 0) {
            break;
        }
        bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
    }
    if (bytes.size() % sizeof(weft_conn) != 0) {
        return failure(EPROTO, "the socket iterator's records have another size than {} bytes", sizeof(weft_conn));
    }
    std::vector<weft_conn> connections(bytes.size() / sizeof(weft_conn));
    if (!connections.empty()) {
        std::memcpy(connections.data(), bytes.data(), bytes.size());
    }
    return connections;
}

} // namespace weft::bpf
