// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The CNI_* variables.
#include "cni-plugin/environment.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace weft::cni {
namespace {

constexpr std::size_t kMaxContainerId = 200;
constexpr std::size_t kMaxIfname = 15;
constexpr std::size_t kMaxPath = 4095;
constexpr std::size_t kMaxPodName = 253;
constexpr std::size_t kMaxArgs = 65536;

constexpr std::array<std::pair<std::string_view, Command>, 6> kCommands = {{
    {"ADD", Command::kAdd},
    {"DEL", Command::kDel},
    {"CHECK", Command::kCheck},
    {"GC", Command::kGc},
    {"STATUS", Command::kStatus},
    {"VERSION", Command::kVersion},
}};

std::unexpected<CniError> bad(std::string_view variable, std::string_view fault, std::string details = {}) {
    return fail(Code::kInvalidEnvironment, fmt::format("{}: {}", variable, fault), std::move(details));
}

bool alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool printable(char c) {
    return c > ' ' && c < 0x7f;
}

CniResult<std::string> required(const GetEnv& get, const char* name) {
    const char* value = get(name);
    if (value == nullptr || *value == '\0') {
        return bad(name, "not set", "the container runtime sets it; to run the plugin by hand set it yourself");
    }
    return std::string(value);
}

CniResult<std::string> container_id(const GetEnv& get) {
    auto value = required(get, "CNI_CONTAINERID");
    if (value &&
        (value->size() > kMaxContainerId || !alphanumeric(value->front()) ||
         !std::ranges::all_of(*value, [](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; }))) {
        return bad("CNI_CONTAINERID",
                   fmt::format("must be at most {} letters, digits, '_', '.', '-', the first a letter or digit",
                               kMaxContainerId));
    }
    return value;
}

CniResult<std::string> interface_name(const GetEnv& get) {
    auto value = required(get, "CNI_IFNAME");
    if (value && (value->size() > kMaxIfname || *value == "." || *value == ".." ||
                  !std::ranges::all_of(*value, [](char c) { return printable(c) && c != '/' && c != ':'; }))) {
        return bad("CNI_IFNAME", fmt::format("must be at most {} characters without '/', ':' and blanks", kMaxIfname));
    }
    return value;
}

CniResult<std::string> netns(const GetEnv& get) {
    auto value = required(get, "CNI_NETNS");
    if (value && (value->size() > kMaxPath || value->front() != '/' || !std::ranges::all_of(*value, printable))) {
        return bad("CNI_NETNS", "must be the absolute path of a network namespace");
    }
    return value;
}

/// Value of KEY in "KEY=VALUE;KEY=VALUE".
CniResult<std::optional<std::string>> argument(std::string_view args, std::string_view key) {
    while (!args.empty()) {
        const std::string_view pair = args.substr(0, args.find(';'));
        args.remove_prefix(std::min(args.size(), pair.size() + 1));
        const auto equals = pair.find('=');
        if (pair.empty()) {
            continue;
        }
        if (equals == std::string_view::npos) {
            return bad("CNI_ARGS", "a part is not of the form KEY=VALUE");
        }
        if (pair.substr(0, equals) == key) {
            return std::string(pair.substr(equals + 1));
        }
    }
    return std::nullopt;
}

CniResult<std::string> pod_argument(std::string_view args, std::string_view key, bool needed) {
    auto value = argument(args, key);
    if (!value) {
        return std::unexpected(value.error());
    }
    if (!*value || (*value)->empty()) {
        if (!needed) {
            return std::string();
        }
        return bad(
            "CNI_ARGS", fmt::format("{} is missing", key),
            "weft-cni governs Kubernetes pods: the runtime must pass K8S_POD_NAMESPACE and K8S_POD_NAME in CNI_ARGS");
    }
    if ((*value)->size() > kMaxPodName ||
        !std::ranges::all_of(**value, [](char c) { return alphanumeric(c) || c == '.' || c == '-' || c == '_'; })) {
        return bad("CNI_ARGS", fmt::format("{} is no Kubernetes name", key));
    }
    return **std::move(value);
}

CniResult<PodArgs> pod_args(const GetEnv& get) {
    const char* text = get("CNI_ARGS");
    const std::string_view args = text == nullptr ? "" : text;
    if (args.size() > kMaxArgs) {
        return bad("CNI_ARGS", fmt::format("longer than {} bytes", kMaxArgs));
    }
    PodArgs pod;
    for (const auto& [key, field, needed] :
         {std::tuple{"K8S_POD_NAMESPACE", &pod.namespace_name, true}, std::tuple{"K8S_POD_NAME", &pod.name, true},
          std::tuple{"K8S_POD_UID", &pod.uid, false}}) {
        auto value = pod_argument(args, key, needed);
        if (!value) {
            return std::unexpected(value.error());
        }
        *field = *std::move(value);
    }
    return pod;
}

template <typename T>
bool keep(CniResult<T> from, T& to, std::optional<CniError>& error) {
    if (!from) {
        error = std::move(from).error();
        return false;
    }
    to = *std::move(from);
    return true;
}

} // namespace

std::string command_name(Command command) {
    const auto at = std::ranges::find(kCommands, command, &std::pair<std::string_view, Command>::second);
    return std::string(at->first);
}

CniResult<Environment> read_environment(const GetEnv& get) {
    const auto name = required(get, "CNI_COMMAND");
    if (!name) {
        return std::unexpected(name.error());
    }
    const auto at = std::ranges::find(kCommands, *name, &std::pair<std::string_view, Command>::first);
    if (at == kCommands.end()) {
        return bad("CNI_COMMAND", "must be ADD, DEL, CHECK, GC, STATUS or VERSION");
    }
    Environment out;
    out.command = at->second;
    const bool add = out.command == Command::kAdd;
    const bool check = out.command == Command::kCheck;
    const bool del = out.command == Command::kDel;
    std::optional<CniError> error;
    const bool fine =
        (!(add || check || del) ||
         (keep(container_id(get), out.container_id, error) && keep(interface_name(get), out.ifname, error))) &&
        (!(add || check) || keep(netns(get), out.netns, error)) && (!add || keep(pod_args(get), out.pod, error));
    if (!fine) {
        return std::unexpected(*std::move(error));
    }
    return out;
}

} // namespace weft::cni
