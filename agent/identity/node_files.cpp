// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Key and chain share one file, so that no power cut leaves a pair that does not fit.
#include "agent/identity/node_files.hpp"

#include <openssl/err.h>

#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"

namespace weft::identity {
namespace {

constexpr const char* kNode = "node.pem";
constexpr const char* kRoots = "roots.pem";
constexpr const char* kJoining = "joining.key";

Result<std::string> pem_of_all(const std::vector<OsslPtr<X509>>& certificates) {
    std::string text;
    for (const auto& one : certificates) {
        WEFT_ASSIGN(const auto pem, pki::pem_of(one.get()));
        text += pem;
    }
    return text;
}

} // namespace

Result<NodeFiles> NodeFiles::open(const std::string& folder) {
    WEFT_TRY(pki::make_private_folder(folder));
    NodeFiles files;
    files.folder_ = folder;
    return files;
}

Result<std::optional<Svid>> NodeFiles::read_node() const {
    const auto path = file(kNode);
    const auto text = pki::read_private(path);
    if (!text) {
        return text.error().code() == ENOENT ? Result<std::optional<Svid>>(std::nullopt)
                                             : std::unexpected(text.error());
    }
    auto key = ktls::key_from_pem(*text);
    auto chain = ktls::certificates_from_pem(*text);
    if (!key || !chain) {
        return std::unexpected((key ? chain.error() : key.error()).within(path));
    }
    if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
        ERR_clear_error();
        return invalid("{}: key and certificate do not belong together; remove it and join again", path);
    }
    return Svid{std::move(*key), std::move(*chain)};
}

Result<> NodeFiles::write_node(const Svid& node) const {
    WEFT_ASSIGN(const auto key, pki::pem_of(node.key.get()));
    WEFT_ASSIGN(const auto chain, pem_of_all(node.chain));
    return pki::write_durable(file(kNode), key + chain);
}

Result<std::vector<OsslPtr<X509>>> NodeFiles::read_roots() const {
    const auto path = file(kRoots);
    const auto text = pki::read_private(path);
    if (!text) {
        return text.error().code() == ENOENT ? Result<std::vector<OsslPtr<X509>>>() : std::unexpected(text.error());
    }
    auto roots = ktls::certificates_from_pem(*text);
    return roots ? std::move(roots) : std::unexpected(roots.error().within(path));
}

Result<> NodeFiles::write_roots(const std::vector<OsslPtr<X509>>& roots) const {
    WEFT_ASSIGN(const auto text, pem_of_all(roots));
    return pki::write_durable(file(kRoots), text);
}

Result<OsslPtr<EVP_PKEY>> NodeFiles::joining_key() const {
    const auto path = file(kJoining);
    if (const auto text = pki::read_private(path)) {
        if (auto key = ktls::key_from_pem(*text)) {
            return key;
        } // a damaged one cannot have joined: write_durable() had not returned
    } else if (text.error().code() != ENOENT) {
        return std::unexpected(text.error());
    }
    WEFT_ASSIGN(auto key, pki::new_key());
    WEFT_ASSIGN(const auto text, pki::pem_of(key.get()));
    WEFT_TRY(pki::write_durable(path, text));
    return key;
}

Result<> NodeFiles::drop_joining_key() const {
    return pki::remove_durable(file(kJoining));
}

} // namespace weft::identity
