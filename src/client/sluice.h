/* sluice.h: the C ABI of libsluice, for engines and bindings.
 *
 * Every function that can fail returns SLUICE_OK (0) or an error number; sluice_last_error() then
 * has the sentence for people: what, where, expected and got, what to do. No function aborts the
 * process on bad arguments, and none throws.
 *
 * Threads: objects of different clients are independent; one client and all that was opened on it
 * are used by one thread at a time. sluice_last_error() is per thread.
 * Memory: the caller owns every buffer it passes in; the library keeps no pointer after it returns.
 * Deadlines: a call waits for the daemon no longer than the client's deadline, and one second more
 * for every 16 MiB of tensors that it has moved: slower than that, computing them again is quicker.
 * After a call that took all of its time the next ones end with timed_out at once, for four
 * deadlines at first, up to five minutes if it happens again and again. After connection_lost the
 * client connects again by itself at the next call. */
#ifndef SLUICE_H_
#define SLUICE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_VERSION 3u
#define SLUICE_KEY_BYTES 32u
#define SLUICE_KL_EXACT 0u
#define SLUICE_KL_UNKNOWN 0xffffffffu
/* What a put waits for: that its pages can be served, or that no crash can lose them either. */
#define SLUICE_ACK_RAM 0u
#define SLUICE_ACK_DISK 1u

#if defined(__GNUC__)
#define SLUICE_API __attribute__((visibility("default")))
#else
#define SLUICE_API
#endif

/* Every error number. They are the wire status too, and never reused. */
enum {
  SLUICE_OK = 0,
  SLUICE_INVALID_ARGUMENT = 1,
  SLUICE_UNSUPPORTED = 2,
  SLUICE_TOO_LARGE = 3,
  SLUICE_OUTPUT_TOO_SMALL = 4,
  SLUICE_TRUNCATED = 20,
  SLUICE_BAD_MAGIC = 21,
  SLUICE_BAD_VERSION = 22,
  SLUICE_RESERVED_SET = 23,
  SLUICE_BAD_CHECKSUM = 24,
  SLUICE_BAD_VALUE = 25,
  SLUICE_IDENTITY_MISMATCH = 40,
  SLUICE_UNKNOWN_HANDLE = 41,
  SLUICE_LAYOUT_MISMATCH = 42,
  SLUICE_NOT_FOUND = 60,
  SLUICE_NO_SPACE = 61,
  SLUICE_DAMAGED = 62,
  SLUICE_CONNECTION_LOST = 80,
  SLUICE_TIMED_OUT = 81,
  SLUICE_PROTOCOL_ERROR = 82,
  SLUICE_OVERLOADED = 83,
  SLUICE_DRAINING = 84,
  SLUICE_IO_ERROR = 100
};

typedef struct sluice_model sluice_model;
typedef struct sluice_client sluice_client;
typedef struct sluice_space sluice_space;
typedef struct sluice_page sluice_page;
typedef struct sluice_llama sluice_llama;

/* SLUICE_ABI_VERSION of the library that was loaded; compare it with the header's. */
SLUICE_API uint32_t sluice_abi_version(void);
/* The library's version, e.g. "0.1.0". Static. */
SLUICE_API const char* sluice_version(void);
/* The last failure of this thread, "" if there was none. Valid until this thread's next call. */
SLUICE_API const char* sluice_last_error(void);
/* The name of an error number, e.g. "timed_out". Static. */
SLUICE_API const char* sluice_error_name(int status);

/* ---- Model: manifest and identity ---------------------------------------------------------- */

/* Reads the manifest of a GGUF file, or of a folder with config.json and *.safetensors, and starts
 * to compute the model's digest in the background (seconds per GB; taken from the user's shared
 * cache when path, inode, size, mtime and ctime are unchanged). `path` is a UTF-8 file name.
 * Errors: io_error, truncated, bad_magic, bad_version, bad_value, unsupported. */
SLUICE_API int sluice_model_open(const char* path, sluice_model** out);
/* Frees the model; spaces that were opened with it stay valid. NULL is allowed. */
SLUICE_API void sluice_model_free(sluice_model* model);
/* Writes the model's 32-byte digest once it is there, waiting up to wait_ms.
 * Errors: timed_out (still computing: leave Sluice off and ask again), io_error. */
SLUICE_API int sluice_model_digest(sluice_model* model, uint32_t wait_ms, uint8_t out[32]);
/* KV groups of the model: layers with the same attention kind (1 for most models). */
SLUICE_API uint32_t sluice_model_groups(const sluice_model* model);
/* The manifest as JSON text, for people and tools. Lives as long as the model. */
SLUICE_API const char* sluice_model_json(const sluice_model* model);

/* ---- Client: one connection to sluiced ------------------------------------------------------ */

/* Makes a client, which connects when a call first needs the daemon. `address`: a unix socket path
 * or tcp://IP:PORT, or NULL for $SLUICE_SOCKET where it is set, else $XDG_RUNTIME_DIR/sluice.sock
 * where it exists, else /run/sluice/sluice.sock. Over TCP the daemon is shown the token in the file
 * that $SLUICE_TOKEN_FILE names. deadline_ms: 1 to 600000. Errors: invalid_argument.
 * Errors of a request, from every call that makes one: connection_lost, timed_out, protocol_error,
 * bad_version, identity_mismatch (the key chain's self-test differs), draining, overloaded,
 * invalid_argument (no token, or not the daemon's), io_error. */
SLUICE_API int sluice_client_open(const char* address, uint32_t deadline_ms, sluice_client** out);
/* Closes and frees. NULL is allowed; spaces and connectors of the client must be freed before. */
SLUICE_API void sluice_client_free(sluice_client* client);
/* Sets the trace id (a W3C trace-id) of the client's calls that follow: the daemon's log lines
 * about them show it. NULL or zeros: one is drawn for each call. Errors: invalid_argument. */
SLUICE_API int sluice_client_trace(sluice_client* client, const uint8_t trace_id[16]);
/* Gives the client a profile, the bytes of a file that sluice_kv.calibrate made: what pages of its
 * model are encoded with, within put_kl, by spaces opened afterwards, and what names of levels
 * mean. The daemon gets it before the first such page; who reads that page has it from there.
 * Errors: truncated, bad_magic, bad_version, bad_checksum, reserved_set, bad_value, too_large,
 * unsupported. */
SLUICE_API int sluice_client_add_profile(sluice_client* client,
                                         const uint8_t* file,
                                         size_t file_bytes);
/* The daemon's counters as JSON text, valid until the client's next call. Errors: as a request. */
SLUICE_API int sluice_stats(sluice_client* client, const char** json_out);
/* Why the last lookup had no hit at all: the nearest known space and the field that differs; or why
 * pages that came could not be read: their profile, which neither client nor daemon has. "" if
 * there was a hit. Valid until the client's next lookup. */
SLUICE_API const char* sluice_miss_reason(const sluice_client* client);

/* What a transfer moved. */
typedef struct {
  uint32_t pages;         /* pages moved */
  uint32_t pages_kept;    /* store: pages that the daemon had already */
  uint32_t tokens;        /* load: tokens restored; store: tokens now served */
  uint32_t pages_damaged; /* load: pages refused and reported to the daemon */
  uint64_t raw_bytes;     /* tensors of the pages moved */
  uint64_t stored_bytes;  /* the same pages as encoded, header and checksums included */
} sluice_transfer;

/* ---- Space: pages by key, for engines that hold canonical tensors --------------------------- */

/* What a level costs in the space of a descriptor, in micro-nats: 0 for "exact"; for "q1", "q2" and
 * "q3" what the first of the client's profiles says that is of this model and has the level. With
 * it a level's name becomes the number that worst_kl, put_kl and max_kl ask for. Errors:
 * invalid_argument (no level's name), not_found (no profile says it), bad_value. */
SLUICE_API int sluice_level_kl(sluice_client* client,
                               const uint8_t* descriptor,
                               size_t descriptor_bytes,
                               const char* level,
                               uint32_t* kl_out);
/* Opens a space by its descriptor (format: src/model/descriptor.h). worst_kl: the worst quality in
 * micro-nats that this process may ever load (SLUICE_KL_EXACT for a process that loads exact KV
 * only); it is stamped on every put, and a get that allows a worse one is invalid_argument. put_kl:
 * the worst quality to store; pages are stored with the client's profile of this model that was
 * measured to keep within it, exactly where there is none: all its levels from the coarsest on to
 * the first within put_kl, so that every reader gets the one that it asks for. exact_row: 1 stores
 * behind them what gives the KV back bit for bit, for readers that ask for exact KV; else 0.
 * Errors: bad_value, identity_mismatch, unsupported, invalid_argument (exact_row), as a request. */
SLUICE_API int sluice_space_open(sluice_client* client,
                                 const uint8_t* descriptor,
                                 size_t descriptor_bytes,
                                 uint32_t worst_kl,
                                 uint32_t put_kl,
                                 uint32_t exact_row,
                                 sluice_space** out);
SLUICE_API void sluice_space_free(sluice_space* space);
/* Bytes of one page's tensors in canonical order [layer][plane][token][head][dim]. */
SLUICE_API size_t sluice_space_page_bytes(const sluice_space* space);
/* What storing costs: micro-nats of the profile that sluice_space_put uses, 0 where it is exact or
 * has the exact row. */
SLUICE_API uint32_t sluice_space_encoded_kl(const sluice_space* space);
/* Writes the 32-byte keys of the full pages of a token sequence: n_tokens / page_tokens of them,
 * from position 0. keys_out: room for n_keys_cap keys. Errors: output_too_small. */
SLUICE_API int sluice_space_keys(const sluice_space* space,
                                 const uint32_t* tokens,
                                 size_t n_tokens,
                                 uint8_t* keys_out,
                                 size_t n_keys_cap,
                                 size_t* n_keys_out);
/* How many of the keys, counted from the first, the daemon can serve within max_kl. */
SLUICE_API int sluice_space_lookup(
    sluice_space* space, const uint8_t* keys, size_t n_keys, uint32_t max_kl, uint32_t* pages_out);

/* The best that fits a budget of bytes. */
typedef struct {
  uint32_t pages;        /* from the first key on */
  uint32_t max_kl;       /* get them with this */
  uint64_t stored_bytes; /* that come then */
} sluice_fit;

/* What to get with no more than budget_bytes: all pages that there are within max_kl, at the finest
 * quality at which they fit; where they do not even fit at max_kl, as many from the first on as
 * do. */
SLUICE_API int sluice_space_fit(sluice_space* space,
                                const uint8_t* keys,
                                size_t n_keys,
                                uint32_t max_kl,
                                uint64_t budget_bytes,
                                sluice_fit* out);
/* Encodes and puts n_keys pages, page i of `tensors` under key i, first_page being the index of
 * key 0 in its prefix chain; anchor is the key before key 0 (NULL at the root). Pages that the
 * daemon has already are not sent, unless `ack`, one of SLUICE_ACK_*, asks for the disk. Errors:
 * invalid_argument, no_space, unsupported (the daemon has no disk tier), not_found (it lost the
 * profile meanwhile: the next put brings it), as a request. */
SLUICE_API int sluice_space_put(sluice_space* space,
                                const uint8_t* keys,
                                size_t n_keys,
                                uint32_t first_page,
                                const uint8_t* anchor,
                                const void* tensors,
                                size_t tensor_bytes,
                                uint32_t ack,
                                sluice_transfer* out);
/* Gets and decodes pages of a chain into `tensors`, key 0 first, until one is missing, damaged (it
 * is reported) or does not fit; out->pages counts those that are whole. Of each page as many rows
 * come as max_kl needs. Bytes beyond them are unspecified. Errors: output_too_small, as a
 * request. */
SLUICE_API int sluice_space_get(sluice_space* space,
                                const uint8_t* keys,
                                size_t n_keys,
                                uint32_t first_page,
                                uint32_t max_kl,
                                void* tensors,
                                size_t tensor_bytes,
                                sluice_transfer* out);
/* The same of n_layers transformer layers from first_layer on, counted within the pages: only the
 * parts that hold them come. Page i's layers lie at i x n_layers / layers of a page's bytes.
 * Errors: as sluice_space_get, invalid_argument (layers that pages do not have, or none). */
SLUICE_API int sluice_space_get_layers(sluice_space* space,
                                       const uint8_t* keys,
                                       size_t n_keys,
                                       uint32_t first_page,
                                       uint32_t max_kl,
                                       uint32_t first_layer,
                                       uint32_t n_layers,
                                       void* tensors,
                                       size_t tensor_bytes,
                                       sluice_transfer* out);

/* ---- Page: one page now, and better later --------------------------------------------------- */

/* Gets page `page_index` of a chain as it is stored, no more of it than max_kl needs. The page must
 * be freed before its space. Errors: not_found, damaged, as a request. */
SLUICE_API int sluice_page_get(sluice_space* space,
                               const uint8_t key[32],
                               uint32_t page_index,
                               uint32_t max_kl,
                               sluice_page** out);
SLUICE_API void sluice_page_free(sluice_page* page);
/* Gets what the page lacks for max_kl, and nothing again. On an error the page stays as it is.
 * Errors: not_found (the daemon has these bytes no more, or nothing better: get the page anew),
 * damaged, as a request. */
SLUICE_API int sluice_page_refine(sluice_page* page, uint32_t max_kl);
/* Decodes what is there of the page: after a refinement the same tensors as of a page that came at
 * once. Errors: output_too_small, identity_mismatch (a profile that neither client nor daemon has),
 * damaged (it is reported to the daemon), as a request. */
SLUICE_API int sluice_page_decode(sluice_page* page, void* tensors, size_t tensor_bytes);
/* Quality of what is there, micro-nats, and its bytes. */
SLUICE_API uint32_t sluice_page_kl(const sluice_page* page);
SLUICE_API uint64_t sluice_page_stored_bytes(const sluice_page* page);

/* ---- llama.cpp: sequence state blobs -------------------------------------------------------- */

typedef struct {
  uint32_t flash_attention; /* of the context: 1 on, 0 off (V is transposed then); never auto */
  uint32_t k_ggml_type;     /* 0 f32, 1 f16, 30 bf16; quantised caches are refused by name */
  uint32_t v_ggml_type;
  uint32_t n_ctx;       /* of the context: longrope's frequencies depend on it */
  uint32_t page_tokens; /* 0 for the default, 64 */
  uint32_t worst_kl;    /* see sluice_space_open */
  uint32_t put_kl;      /* see sluice_space_open */
  uint32_t exact_row;   /* see sluice_space_open */
  const uint8_t* salt;  /* separates users; may be NULL */
  size_t salt_bytes;
  const uint8_t* lora_digest; /* 32 bytes, or NULL for none */
} sluice_llama_options;

/* As sluice_level_kl, of the worst KV group of such a context. Errors: as that, and as
 * sluice_llama_open. */
SLUICE_API int sluice_llama_level_kl(sluice_client* client,
                                     sluice_model* model,
                                     const sluice_llama_options* options,
                                     const char* level,
                                     uint32_t* kl_out);
/* Opens the spaces of a llama.cpp context: one a KV group of the model. The context must take RoPE
 * from the model: rope_freq_base, rope_freq_scale, rope_scaling_type and yarn_* at their defaults,
 * since neither these options nor the state blob can say otherwise.
 * Errors: timed_out (the model's digest is not there yet), unsupported (layout, named),
 * as sluice_space_open. */
SLUICE_API int sluice_llama_open(sluice_client* client,
                                 sluice_model* model,
                                 const sluice_llama_options* options,
                                 sluice_llama** out);
SLUICE_API void sluice_llama_free(sluice_llama* llama);
/* As sluice_space_encoded_kl, of the worst group. */
SLUICE_API uint32_t sluice_llama_encoded_kl(const sluice_llama* llama);
/* Tokens from position 0 that the daemon can restore within max_kl, a multiple of page_tokens. */
SLUICE_API int sluice_llama_lookup(sluice_llama* llama,
                                   const uint32_t* tokens,
                                   size_t n_tokens,
                                   uint32_t max_kl,
                                   uint32_t* tokens_out);
/* As sluice_space_fit, of all groups together; pages: of page_tokens each. */
SLUICE_API int sluice_llama_fit(sluice_llama* llama,
                                const uint32_t* tokens,
                                size_t n_tokens,
                                uint32_t max_kl,
                                uint64_t budget_bytes,
                                sluice_fit* out);
/* Stores the full pages of a sequence. `blob` is what llama_state_seq_get_data wrote for a sequence
 * that holds exactly tokens[0, n_tokens) from position 0, or more tokens after them. The blob is
 * checked whole before anything is put. ack: one of SLUICE_ACK_*. Errors: layout_mismatch (names
 * the field), bad_magic, truncated, bad_value, no_space, unsupported (the daemon has no disk tier),
 * as a request. */
SLUICE_API int sluice_llama_store(sluice_llama* llama,
                                  const uint32_t* tokens,
                                  size_t n_tokens,
                                  const uint8_t* blob,
                                  size_t blob_bytes,
                                  uint32_t ack,
                                  sluice_transfer* out);
/* Bytes of the blob that restores n_tokens tokens. */
SLUICE_API size_t sluice_llama_blob_bytes(const sluice_llama* llama, uint32_t n_tokens);
/* Builds the blob for the longest restorable prefix of the tokens, for llama_state_seq_set_data on
 * an empty sequence. blob_cap: sluice_llama_blob_bytes of the lookup's tokens; a shorter prefix
 * writes less. *blob_bytes is 0 where nothing could be restored: a miss, not an error. */
SLUICE_API int sluice_llama_load(sluice_llama* llama,
                                 const uint32_t* tokens,
                                 size_t n_tokens,
                                 uint32_t max_kl,
                                 uint8_t* blob,
                                 size_t blob_cap,
                                 size_t* blob_bytes,
                                 sluice_transfer* out);
/* The same for explicit keys, [group][page], n_keys of them in all. For tests and tools: what the
 * keys name is restored, whether or not it belongs together; all of it, or nothing. */
SLUICE_API int sluice_llama_load_keys(sluice_llama* llama,
                                      const uint8_t* keys,
                                      size_t n_keys,
                                      uint32_t max_kl,
                                      uint8_t* blob,
                                      size_t blob_cap,
                                      size_t* blob_bytes,
                                      sluice_transfer* out);
/* The keys of a token sequence in that order: groups x (n_tokens / page_tokens) of them. */
SLUICE_API int sluice_llama_keys(const sluice_llama* llama,
                                 const uint32_t* tokens,
                                 size_t n_tokens,
                                 uint8_t* keys_out,
                                 size_t n_keys_cap,
                                 size_t* n_keys_out);

#ifdef __cplusplus
}
#endif

#endif /* SLUICE_H_ */
