// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Fuzz target for every foreign byte of the CNI path: stdin of the plugin (configuration and prevResult), frames on
// the socket, requests and answers in them, and record files. First byte: which one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/enrol/frame.hpp"
#include "agent/enrol/record_file.hpp"
#include "cni-plugin/chain.hpp"
#include "cni-plugin/netconf.hpp"
#include "enrol.pb.h"

namespace {

/// A property that every input must keep.
void must(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void fuzz_netconf(std::string_view input) {
    using namespace weft::cni;
    const auto object = decode(input);
    if (!object) {
        must(object.error().code == Code::kDecode && !object.error().message.empty());
        return;
    }
    for (const Strictness strictness : {Strictness::kEveryField, Strictness::kOnlyVersion}) {
        const auto conf = parse_netconf(*object, strictness);
        if (!conf) {
            must(!conf.error().message.empty() && conf.error().message.size() < 1000);
            continue;
        }
        const auto addresses = container_addresses(conf->prev_result);
        must(addresses ? !addresses->empty() : addresses.error().code == Code::kInvalidConfig);
        // What is printed must be JSON again and mean the same.
        if (addresses) {
            must(Json::parse(conf->prev_result.dump(2, ' ', false, Json::error_handler_t::replace)) ==
                 conf->prev_result);
        }
    }
}

void fuzz_frames(std::string_view input) {
    using namespace weft::enrol;
    FrameDecoder whole;
    FrameDecoder pieces;
    const auto expected = whole.feed(input);
    // Pieces of sizes that the input itself gives must end the same way.
    std::size_t at = 0;
    while (at < input.size()) {
        const std::size_t size = 1 + static_cast<unsigned char>(input[at]) % 7;
        const auto got = pieces.feed(input.substr(at, size));
        if (!got) {
            must(!expected);
            return;
        }
        at += size;
        if (*got) {
            if (at >= input.size()) {
                must(expected && *expected == *got);
                Request request;
                Response response;
                (void)request.ParseFromString(**got); // any answer is fine, a fault is not
                (void)response.ParseFromString(**got);
            } else {
                must(!expected); // bytes behind the frame
            }
            return;
        }
    }
    must(expected && !*expected);
}

void fuzz_record(std::string_view input) {
    const auto record = weft::enrol::parse_record(input);
    if (record) {
        must(weft::enrol::parse_record(weft::enrol::format_record(*record)).has_value());
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        fuzz_netconf(input);
        break;
    case 1:
        fuzz_frames(input);
        break;
    default:
        fuzz_record(input);
        break;
    }
    return 0;
}
