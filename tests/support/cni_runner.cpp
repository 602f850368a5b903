// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The runtime's side of CNI.
#include "tests/support/cni_runner.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "weft/base/unique_fd.hpp"

namespace weft::test {
namespace {

constexpr int kTimeoutMs = 30000;

std::string key_of(const CniAttachment& attachment) {
    return attachment.container_id + "/" + attachment.ifname;
}

/// A file in memory: a plugin's standard stream that never blocks.
Result<UniqueFd> stream(const std::string& content) {
    UniqueFd fd(::memfd_create("cni", MFD_CLOEXEC));
    if (!fd.valid() || ::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        ::lseek(fd.get(), 0, SEEK_SET) != 0) {
        return system_failure("memfd");
    }
    return fd;
}

std::string content_of(int fd) {
    std::string out(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    const ssize_t got = ::pread(fd, out.data(), out.size(), 0);
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
}

Result<int> wait_for(pid_t child) {
    const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    pollfd entry{.fd = handle.get(), .events = POLLIN, .revents = 0};
    const bool ended = handle.valid() && ::poll(&entry, 1, kTimeoutMs) == 1;
    if (!ended) {
        (void)::kill(child, SIGKILL); // it is reaped below either way
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) {
        return system_failure("waitpid");
    }
    if (!ended) {
        return failure(ETIMEDOUT, "the plugin did not end in {} ms", kTimeoutMs);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// A plugin's failure as it reported it on stdout.
std::unexpected<Error> plugin_failure(const std::string& plugin, const std::string& command, const CniOutput& output) {
    const Json error = Json::parse(output.out, nullptr, false);
    if (!error.is_object() || !error.contains("code") || !error["code"].is_number_integer() || !error.contains("msg")) {
        return failure(EPROTO, "{} {}: exit status {} without an error object: {} {}", plugin, command, output.status,
                       output.out, output.err);
    }
    return failure(error["code"].get<int>(), "{} {}: {} ({})", plugin, command, error["msg"].dump(),
                   error.value("details", ""));
}

} // namespace

Result<CniOutput> CniRunner::exec(const std::string& plugin, const std::string& command, const std::string& input,
                                  const CniAttachment& attachment) const {
    std::string file;
    std::string search;
    for (const std::string& folder : path_) {
        search += (search.empty() ? "" : ":") + folder;
        if (file.empty() && ::access((folder + "/" + plugin).c_str(), X_OK) == 0) {
            file = folder + "/" + plugin;
        }
    }
    if (file.empty()) {
        return failure(ENOENT, "no plugin {} in {}", plugin, search);
    }
    WEFT_ASSIGN(const UniqueFd in, stream(input));
    WEFT_ASSIGN(const UniqueFd out, stream(""));
    WEFT_ASSIGN(const UniqueFd err, stream(""));
    std::array<std::string, 7> variables = {"CNI_COMMAND=" + command,
                                            "CNI_CONTAINERID=" + attachment.container_id,
                                            "CNI_NETNS=" + attachment.netns,
                                            "CNI_IFNAME=" + attachment.ifname,
                                            "CNI_ARGS=" + attachment.args,
                                            "CNI_PATH=" + search,
                                            "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    std::vector<char*> environment;
    for (std::string& variable : variables) {
        environment.push_back(variable.data());
    }
    environment.push_back(nullptr);
    std::array<char*, 2> arguments = {file.data(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
    pid_t child = 0;
    const int spawned = ::posix_spawn(&child, file.c_str(), &actions, nullptr, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (spawned != 0) {
        return failure(spawned, "start {}: {}", file, std::strerror(spawned));
    }
    CniOutput output;
    WEFT_ASSIGN(output.status, wait_for(child));
    output.out = content_of(out.get());
    output.err = content_of(err.get());
    return output;
}

Result<CniOutput> CniRunner::call(const Json& conflist, const Json& plugin, const std::string& command,
                                  const CniAttachment& attachment, const Json& prev_result) const {
    Json conf = plugin;
    conf["name"] = conflist.at("name");
    conf["cniVersion"] = conflist.at("cniVersion");
    if (!prev_result.is_null()) {
        conf["prevResult"] = prev_result;
    }
    const std::string type = plugin.at("type").get<std::string>();
    WEFT_ASSIGN(CniOutput output, exec(type, command, conf.dump(), attachment));
    if (output.status != 0) {
        return plugin_failure(type, command, output);
    }
    return output;
}

Result<Json> CniRunner::add(const Json& conflist, const CniAttachment& attachment) {
    Json result;
    for (const Json& plugin : conflist.at("plugins")) {
        WEFT_ASSIGN(const CniOutput output, call(conflist, plugin, "ADD", attachment, result));
        result = Json::parse(output.out, nullptr, false);
        if (!result.is_object()) {
            return failure(EPROTO, "{} ADD: no JSON object on stdout: {}", plugin.at("type").dump(), output.out);
        }
        results_[key_of(attachment)] = result;
    }
    return result;
}

Result<> CniRunner::check(const Json& conflist, const CniAttachment& attachment) {
    for (const Json& plugin : conflist.at("plugins")) {
        WEFT_TRY(call(conflist, plugin, "CHECK", attachment, results_[key_of(attachment)]));
    }
    return {};
}

Result<> CniRunner::del(const Json& conflist, const CniAttachment& attachment) {
    Result<> first;
    const Json& plugins = conflist.at("plugins");
    for (auto plugin = plugins.rbegin(); plugin != plugins.rend(); ++plugin) {
        const auto output = call(conflist, *plugin, "DEL", attachment, results_[key_of(attachment)]);
        if (!output && first) {
            first = std::unexpected(output.error());
        }
    }
    if (first) {
        results_.erase(key_of(attachment));
    }
    return first;
}

} // namespace weft::test
