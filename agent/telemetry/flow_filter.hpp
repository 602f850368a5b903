// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which flows does a client want? Hubble's whitelist and blacklist, checked once when the request arrives, so that
// matching a flow cannot fail.
#pragma once

#include <memory>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>

#include "weft/base/result.hpp"

namespace flow {
class Flow;
class FlowFilter;
} // namespace flow

namespace weft::telemetry {

class FlowFilter {
public:
    using List = google::protobuf::RepeatedPtrField<flow::FlowFilter>;
    /// Error EINVAL naming the field: an address, prefix or port that cannot be read.
    static Result<FlowFilter> make(const List& whitelist, const List& blacklist);

    /// Some whitelist entry matches (or there is none), and no blacklist entry does.
    [[nodiscard]] bool matches(const flow::Flow& flow) const;

private:
    struct Term;
    std::shared_ptr<const std::vector<Term>> white_, black_;
};

} // namespace weft::telemetry
