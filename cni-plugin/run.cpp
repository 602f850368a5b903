// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Chooses the verb and turns its result into output.
#include "cni-plugin/run.hpp"

#include <algorithm>

#include "cni-plugin/verbs.hpp"

namespace weft::cni {
namespace {

Outcome printed(const Json& object) {
    return {0, object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

/// Version for an error object: the caller's when we speak it, so that the caller can read it.
std::string answer_version(const Json& input) {
    const auto at = input.find("cniVersion");
    if (at != input.end() && at->is_string() &&
        std::ranges::find(kVersions, at->get_ref<const std::string&>()) != kVersions.end()) {
        return at->get<std::string>();
    }
    return std::string(kVersions.back());
}

CniResult<Outcome> dispatch(const Environment& environment, const Json& input) {
    if (environment.command == Command::kVersion) {
        return printed(version(input));
    }
    const bool lenient = environment.command == Command::kDel;
    const auto conf = parse_netconf(input, lenient ? Strictness::kOnlyVersion : Strictness::kEveryField);
    if (!conf) {
        return std::unexpected(conf.error());
    }
    CniResult<> done;
    switch (environment.command) {
    case Command::kAdd: {
        const auto result = add(environment, *conf);
        if (!result) {
            return std::unexpected(result.error());
        }
        return printed(*result);
    }
    case Command::kDel:
        del(environment, *conf);
        break;
    case Command::kCheck:
        done = check(environment, *conf);
        break;
    case Command::kGc:
    case Command::kStatus:
        if (conf->version != kGcVersion) {
            return fail(Code::kIncompatibleVersion,
                        fmt::format("cniVersion: {} has no {}", conf->version, command_name(environment.command)),
                        fmt::format("it came with {}", kGcVersion));
        }
        done = environment.command == Command::kGc ? gc(*conf) : status(*conf);
        break;
    case Command::kVersion:
        break;
    }
    if (!done) {
        return std::unexpected(std::move(done).error());
    }
    return Outcome{};
}

} // namespace

Outcome failed(const CniError& error, std::string_view version) {
    Json object;
    object["cniVersion"] = version;
    object["code"] = static_cast<int>(error.code);
    object["msg"] = error.message;
    object["details"] = error.details;
    Outcome out = printed(object);
    out.exit_status = 1;
    return out;
}

Outcome run(const GetEnv& get, std::string_view input) {
    Json object = Json::object();
    try {
        const auto environment = read_environment(get);
        const auto decoded = decode(input);
        if (decoded) {
            object = *decoded;
        }
        if (!environment) {
            return failed(environment.error(),
                          answer_version(object)); // the environment first: without it stdin means nothing
        }
        // VERSION may be asked without any input.
        if (!decoded && !(environment->command == Command::kVersion && input.empty())) {
            return failed(decoded.error(), answer_version(object));
        }
        const auto outcome = dispatch(*environment, object);
        return outcome ? *outcome : failed(outcome.error(), answer_version(object));
    } catch (const std::exception& error) {
        // The JSON library's; every access is checked before, so this is memory, or a fault of ours.
        return failed({Code::kIo, fmt::format("weft-cni failed: {}", error.what()),
                       "please report it with the network configuration"},
                      kVersions.back());
    }
}

} // namespace weft::cni
