// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Any bytes as a certificate request: no crash, no hang, no leak; what is accepted has one printable name and a key of
// an allowed type, and a certificate made from it says that name and nothing else. Also bundles and chains in DER.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/csr.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"

namespace {

/// A property that every input must keep.
void must(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void fuzz_csr(std::string_view input) {
    using namespace weft::pki;
    const auto csr = parse_csr(input);
    if (!csr) {
        must(!csr.error().message().empty() && csr.error().message().size() < 1000);
        return;
    }
    must(input.size() <= kMaxCsr);
    must(check_key_type(csr->key.get()).has_value());
    const auto workload = weft::SpiffeId::parse(csr->uri);
    const auto node = NodeId::parse(csr->uri);
    must(!workload || !node); // nothing is both
    static const auto key = new_key();
    static const Time now{};
    static const auto root = make_root(key->get(), "root", {now, now + std::chrono::hours(1)});
    const auto leaf = make_leaf(LeafKind::kWorkload, csr->key.get(), csr->uri, {now, now + std::chrono::hours(1)},
                                {root->get(), key->get()});
    must(leaf.has_value());
    must(uris_of(leaf->get()) == std::vector<std::string>{csr->uri});
    must(X509_NAME_entry_count(X509_get_subject_name(leaf->get())) == 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    fuzz_csr(input);
    if (const auto chain = weft::pki::certificates_from_der(input)) {
        for (const auto& one : *chain) {
            (void)weft::pki::uris_of(one.get());
            (void)weft::pki::validity_of(one.get()); // any answer is fine, a fault is not
            (void)weft::ktls::spiffe_id_of(one.get());
        }
    }
    return 0;
}
