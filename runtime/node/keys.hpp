// SPDX-License-Identifier: MIT
// keys: who we are to other nodes and whom we let in. A folder with three
// files, as SSH has them:
//
//   key.pem   our secret key (ed25519), mode 0600
//   cert.pem  the certificate that we made for it ourselves
//   allowed   the fingerprints of the certificates that are let in, one a line:
//             "sha256:<64 hexadecimal digits>  whose it is"
//
// A fingerprint is the SHA-256 of the certificate, the one that
// `openssl x509 -fingerprint -sha256` prints. Nothing else of a certificate
// counts: no names, no dates, no authorities.
// Invariants: (1) key.pem is never there with rights for others, not even for
//             the moment in which it is written. (2) `allowed` is read at each
//             handshake: a change needs no restart. Whoever is taken off it
//             is cut within a few seconds (host.hpp).
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace troupe::nodes {

class key_folder {
public:
  /// Looks at nothing yet.
  explicit key_folder(std::filesystem::path where) : path_(std::move(where)) {}

  /// What the options say, else TROUPE_KEYS, else the user's own:
  /// $XDG_CONFIG_HOME/troupe or ~/.config/troupe. Nothing: there is no home.
  static std::optional<key_folder> find_default(const std::string& option);
  /// The same. Errors: bad_argument (there is no home).
  static key_folder by_default(const std::string& option);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string key_file() const { return path_ / "key.pem"; }
  [[nodiscard]] std::string certificate_file() const {
    return path_ / "cert.pem";
  }
  [[nodiscard]] std::string allowed_file() const { return path_ / "allowed"; }

  /// Makes a key, its certificate, and the list, on which the key itself
  /// stands: processes that share a folder trust each other. Of several that
  /// make one at once, one does.
  /// Result: the fingerprint.
  /// Errors: bad_argument (there is a key already), std::system_error.
  std::string make() const;

  /// Our own fingerprint.
  /// Errors: bad_argument that says what is wrong: no keys, rights for others,
  ///         not ours, not readable, key and certificate don't belong together.
  [[nodiscard]] std::string check() const;

  /// Whether the list has it. A list that can't be read, that others can write
  /// to or put in its place (it, or the folder, is another user's, or theirs to
  /// write), or that is too long lets nobody in; `why` says so.
  [[nodiscard]] bool allows(std::string_view fingerprint,
                            std::string& why) const;

  /// Another text each time the list has changed.
  [[nodiscard]] std::string list_stamp() const;

  /// Adds a line to the list, unless it is there.
  /// Errors: bad_argument (no fingerprint, a comment of more than one line),
  ///         std::system_error.
  void allow(std::string_view fingerprint, std::string_view comment) const;

private:
  std::filesystem::path path_;
};

/// "sha256:..." of the bytes of a certificate.
std::string fingerprint_of(std::span<const unsigned char> der);

/// As we write it; accepts what openssl prints too ("AB:CD:..."). Nothing if
/// it is none.
std::optional<std::string> read_fingerprint(std::string_view text);

} // namespace troupe::nodes
