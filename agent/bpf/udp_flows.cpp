// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/udp_flows.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/bpf/datapath.hpp"
#include "agent/bpf/kernel_map.hpp"
#include "weft/abi/udp_flow.h"

namespace weft::bpf {

Result<UdpFlows> UdpFlows::open(const Datapath& datapath) {
    UdpFlows flows;
    WEFT_ASSIGN(const int program, datapath.program_fd("weft_udp_sweep"));
    WEFT_ASSIGN(flows.program_, duplicate(program));
    return flows;
}

Result<UdpFlows::Pass> UdpFlows::sweep(std::chrono::nanoseconds idle) const {
    weft_udp_sweep args{};
    args.idle_ns = static_cast<std::uint64_t>(idle.count());
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.ctx_in = &args;
    options.ctx_size_in = sizeof args;
    if (::bpf_prog_test_run_opts(program_.get(), &options) != 0) {
        return system_failure("running weft_udp_sweep");
    }
    if (options.retval != 0) {
        return failure(EIO, "weft_udp_sweep cannot walk its map");
    }
    return Pass{.ended = args.ended, .open = args.open};
}

} // namespace weft::bpf
