// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A private world for tests of the kernel programs: two network namespaces joined by a veth pair, a cgroup that holds
// this process, and Weft's programs attached to that cgroup. Namespaces have no names and links are not pinned, so a
// killed test leaves nothing but an empty cgroup, which the next world removes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <bpf/bpf.h>

#include "bpf/weft.skel.h"
#include "weft/abi/endpoint.h"
#include "weft/abi/event.h"
#include "weft/abi/policy.h"
#include "weft/abi/reasons.h"
#include "weft/abi/service.h"
#include "weft/abi/socket.h"
#include "weft/base/ip.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::test {

/// A network namespace without a name.
class Netns {
public:
    Netns();
    /// Runs `work` in a thread that is inside the namespace; exceptions come back to the caller.
    void run(const std::function<void()>& work) const;
    /// Runs a shell command inside; throws when it fails.
    void shell(const std::string& command) const;
    /// Runs iproute2's commands, one in each line, without "ip"; throws when one fails. Starting a program is what
    /// tests in an emulated guest spend most of their time on, so many commands are one start.
    void ip(const std::string& commands) const;
    /// The kernel notices a while after `ip` ends that a link is up, and drops packets until then.
    void await_link(const char* device) const;
    [[nodiscard]] std::uint64_t cookie() const { return cookie_; }
    /// A path that names it for iproute2.
    [[nodiscard]] std::string path() const;

private:
    UniqueFd fd_;
    std::uint64_t cookie_ = 0;
};

/// Moves this process into a cgroup of its own, and back at the end.
class PrivateCgroup {
public:
    PrivateCgroup();
    ~PrivateCgroup();
    PrivateCgroup(const PrivateCgroup&) = delete;
    PrivateCgroup& operator=(const PrivateCgroup&) = delete;
    /// Goes back to where this process was, and in again: sockets made outside are not governed.
    void leave() const;
    void join() const;
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
    std::string former_;
    UniqueFd fd_;
};

/// The whole world. `client` has 10.77.0.1 and fd77::1; `server` has .2 to .9 and ::2 to ::9.
class World {
public:
    /// `before_load` may set map sizes. Worlds without it share one object and find its maps empty: the verifier takes
    /// half a second each time, and several in an emulated guest.
    explicit World(const std::function<void(weft_bpf&)>& before_load = {});
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Netns client;
    Netns server;
    PrivateCgroup cgroup;

    [[nodiscard]] weft_bpf& bpf() { return *bpf_; }

    /// Declares both namespaces as workloads; extra flags are WEFT_ENDPOINT_*.
    void set_endpoint(const Netns& netns, const std::string& v4, const std::string& v6, std::uint32_t flags,
                      std::uint64_t policy = 0);
    /// A Service at `frontend` with equal backends (or the given weights).
    void set_service(const weft_addr_port& frontend, const std::vector<weft_addr_port>& backends,
                     std::uint16_t algorithm = WEFT_ALGORITHM_RANDOM, std::uint16_t flags = 0,
                     std::uint32_t affinity_seconds = 0, const std::vector<std::uint32_t>& weights = {});
    /// Takes one backend out of the Service's members (it is no longer usable for remembered choices).
    void remove_member(const weft_addr_port& frontend, const weft_addr_port& backend);
    void set_identity(const Ip& ip, std::uint64_t identity, std::uint32_t flags = 0);
    /// Opens `port` (0: everything) of `proto` for `identity` in `policy`.
    void allow(std::uint64_t policy, std::uint32_t direction, std::uint64_t identity, std::uint8_t proto,
               std::uint16_t port);
    void deny(std::uint64_t policy, std::uint32_t direction, std::uint64_t identity);
    /// Starts a new policy revision: cached verdicts are found again.
    void bump_revision();
    void set_config_flags(std::uint32_t flags);

    /// Sum over CPUs.
    [[nodiscard]] std::uint64_t drops(std::uint32_t reason, std::uint32_t direction);
    [[nodiscard]] std::int64_t connections(const weft_addr_port& backend);
    /// Every event of the two namespaces so far, oldest first.
    std::vector<weft_event> events();

private:
    weft_bpf* bpf_ = nullptr;
    bool shared_ = false; ///< with the worlds before and after
    std::vector<bpf_link*> links_;
    ring_buffer* ring_ = nullptr;
    std::vector<weft_event> events_;
    weft_config config_{1, 0, 0};
};

/// Id of the Service that set_service makes for a frontend.
std::uint64_t service_id_of(const weft_addr_port& frontend);

} // namespace weft::test
