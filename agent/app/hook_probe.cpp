// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/hook_probe.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "weft/base/content_hash.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::app {
namespace {

// Link-local and unique-local: no such address can be a real Service's by accident.
constexpr const char* kProbeV4 = "169.254.87.70";
constexpr const char* kProbeV6 = "fd57:4546:5400::1";
constexpr std::uint16_t kProbePort = 8770;

/// Exit codes of the probing child.
enum ChildCode : int { kActs = 0, kSilent = 1, kNoCgroup = 2, kNoSocket = 3 };

/// connect(2) to the probe Service must be refused at once; without hooks a datagram socket never is.
int dial(const sockaddr* to, socklen_t size, int family) {
    const int fd = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return family == AF_INET6 && errno == EAFNOSUPPORT ? kActs : kNoSocket; // no IPv6 here, nothing to prove
    }
    const bool refused = ::connect(fd, to, size) != 0 && errno == ECONNREFUSED;
    ::close(fd);
    return refused ? kActs : kSilent;
}

int child(int procs_fd, const sockaddr_in& four, const sockaddr_in6& six) {
    if (::write(procs_fd, "0", 1) != 1) { // 0: the writing process itself
        return kNoCgroup;
    }
    const int result = dial(reinterpret_cast<const sockaddr*>(&four), sizeof four, AF_INET);
    return result != kActs ? result : dial(reinterpret_cast<const sockaddr*>(&six), sizeof six, AF_INET6);
}

} // namespace

std::shared_ptr<const compiler::ServiceFragment> probe_service() {
    static const auto fragment = [] {
        auto made = std::make_shared<compiler::ServiceFragment>();
        made->namespace_name = "weft-system";
        made->name = "hook-probe";
        made->protocol = IPPROTO_UDP;
        made->scope = "cluster";
        made->algorithm = "random";
        made->service_id = ContentHash("service").add("weft-system").add("hook-probe").id();
        made->set_id = ContentHash("set").add("hook-probe").id();
        for (const char* address : {kProbeV4, kProbeV6}) {
            weft_service service{};
            service.service = made->service_id;
            service.set = made->set_id;
            made->frontends.emplace_back(make_addr_port(*Ip::parse(address), kProbePort, IPPROTO_UDP), service);
        }
        return made;
    }();
    return fragment;
}

Result<> probe_hooks(const std::string& cgroup_path) {
    const std::string directory = cgroup_path + "/weft-probe";
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
        return system_failure("cannot make {} to prove that the hooks act", directory);
    }
    const UniqueFd procs(::open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs.valid()) {
        return system_failure("cannot open {}/cgroup.procs", directory);
    }
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(kProbePort);
    four.sin_addr.s_addr = Ip::parse(kProbeV4)->v4_be();
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(kProbePort);
    const Ip six_ip = *Ip::parse(kProbeV6);
    std::memcpy(&six.sin6_addr, &six_ip.raw(), sizeof six.sin6_addr);

    const pid_t pid = ::fork();
    if (pid < 0) {
        return system_failure("cannot fork to prove that the hooks act");
    }
    if (pid == 0) {
        ::_exit(child(procs.get(), four, six));
    }
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) {
        return system_failure("lost the process that proves that the hooks act");
    }
    (void)::rmdir(directory.c_str()); // a leftover is used again by the next probe
    switch (WIFEXITED(status) ? WEXITSTATUS(status) : -1) {
    case kActs:
        return {};
    case kSilent:
        return failure(EPROTO,
                       "hooks are attached to {} but do not act: a process in that cgroup connected without them. Is "
                       "another agent attached with the override flag, or is cgroup_path not the workloads' cgroup?",
                       cgroup_path);
    case kNoCgroup:
        return failure(EBUSY, "cannot move a process into {}: does a parent cgroup forbid it?", directory);
    default:
        return failure(EPROTO, "the process that proves that the hooks act failed (status {})", status);
    }
}

} // namespace weft::app
