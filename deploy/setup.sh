#!/bin/sh
# Makes keys, certificates and secrets where they are missing, and keeps them where they are not.
#
#   setup.sh CERTIFICATES HOMESERVERS NAME...
#
# CERTIFICATES gets a CA's certificate (ca.crt) and one certificate with its key for all names (homeservers.crt, .key);
# HOMESERVERS/NAME gets each homeserver's signing key and secrets. Run as root, it hands the files over to the users
# that the images of nginx and Synapse run as.
set -eu
umask 077

certificates=$1
homeservers=$2
shift 2

proxy_user=101:101
homeserver_user=991:991

own() { # USER PATH...
  [ "$(id -u)" -ne 0 ] || chown "$@"
}

# Good is a certificate that the CA vouches for, under each name, for another month.
is_certified() {
  openssl x509 -noout -checkend 2592000 -in "$certificates/homeservers.crt" >/dev/null 2>&1 || return 1
  for name do
    openssl verify -CAfile "$certificates/ca.crt" -verify_hostname "$name" "$certificates/homeservers.crt" \
      >/dev/null 2>&1 || return 1
  done
}

# The CA's key is never kept: nothing else can be made to be trusted by it. A new certificate has a new CA, which the
# homeservers read when they start.
certify() {
  work=$(mktemp -d)
  names=$(printf ',DNS:%s' "$@")
  cat >"$work/openssl.cnf" <<CONFIG
[req]
prompt = no
distinguished_name = ca_name
[ca_name]
CN = fhir-bridge example CA
[ca]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[homeservers]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${names#,}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONFIG
  for key in ca homeservers; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$work/$key.key" 2>/dev/null
  done
  openssl req -x509 -new -config "$work/openssl.cnf" -extensions ca -key "$work/ca.key" -days 3650 -out "$work/ca.crt"
  openssl req -new -config "$work/openssl.cnf" -subj '/CN=fhir-bridge example homeservers' \
    -key "$work/homeservers.key" -out "$work/homeservers.csr"
  openssl x509 -req -in "$work/homeservers.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial \
    -extfile "$work/openssl.cnf" -extensions homeservers -days 3650 -out "$work/homeservers.crt" 2>/dev/null

  # The certificate comes last: interrupted before it, the next run begins anew.
  mkdir -p "$certificates"
  rm -f "$certificates/homeservers.crt" "$certificates/homeservers.key" "$certificates/ca.crt"
  cp "$work/ca.crt" "$work/homeservers.key" "$certificates/"
  own "$proxy_user" "$certificates/homeservers.key"
  chmod 0400 "$certificates/homeservers.key"
  cp "$work/homeservers.crt" "$certificates/homeservers.new"
  chmod 0444 "$certificates/ca.crt" "$certificates/homeservers.new"
  chmod 0755 "$certificates"
  mv "$certificates/homeservers.new" "$certificates/homeservers.crt"
  rm -r "$work"
}

signing_key() {
  printf 'ed25519 a_%s %s\n' "$(openssl rand -hex 4)" "$(openssl rand -base64 32 | tr -d '=\n')"
}

secret() {
  openssl rand -hex 32
}

keep() { # FILE COMMAND
  [ ! -s "$1" ] || return 0
  "$2" >"$1.new"
  own "$homeserver_user" "$1.new"
  mv "$1.new" "$1"
  echo "made $1"
}

if is_certified "$@"; then
  echo "kept $certificates"
else
  certify "$@"
  echo "made $certificates"
fi

for name do
  folder=$homeservers/$name
  mkdir -p "$folder"
  own "$homeserver_user" "$folder"
  keep "$folder/signing.key" signing_key
  keep "$folder/macaroon.secret" secret
  keep "$folder/form.secret" secret
done
