// What a statement may call, by theme: functions of pg_catalog that read no table, no file, no catalog and no setting
// of the session that could name a user, take no SQL text and no name of a relation, and change nothing.

const names = (text: string) =>
  text
    .split(' ')
    .flatMap((line) => line.split('\n'))
    .filter(Boolean)

/** Functions, aggregates and window functions. */
export const FUNCTIONS: ReadonlySet<string> = new Set([
  // aggregates
  ...names(`any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every max min
    range_agg range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
    regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance`),
  ...names('cume_dist dense_rank mode percent_rank percentile_cont percentile_disc rank'),
  // window functions
  ...names('first_value lag last_value lead nth_value ntile row_number'),
  // comparison
  ...names('num_nonnulls num_nulls overlaps width_bucket'),
  // strings
  ...names(`ascii bit_length btrim casefold char_length character_length chr concat concat_ws format initcap is_normalized
    left length like_escape lower lpad ltrim normalize octet_length overlay parse_ident position quote_ident
    quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad rtrim similar_escape
    similar_to_escape split_part starts_with string_to_array string_to_table strpos substr substring to_ascii to_bin
    to_hex to_oct translate unicode_assigned unistr upper`),
  // bytes, hashes and identifiers
  ...names(`convert convert_from convert_to crc32 crc32c decode encode get_bit get_byte gen_random_uuid md5 set_bit set_byte
    sha224 sha256 sha384 sha512 bit_count uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7`),
  // numbers
  ...names(`abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
    degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 min_scale mod pi pow power radians random
    random_normal round scale sign sin sind sinh sqrt tan tand tanh to_number trim_scale trunc`),
  // dates and times
  ...names(`age clock_timestamp date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days
    justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz now
    statement_timestamp timeofday timezone to_char to_date to_timestamp transaction_timestamp`),
  // casts written as calls
  ...names(
    'bool date float4 float8 int2 int4 int8 interval numeric text time timestamp timestamptz timetz varchar',
  ),
  // arrays and sets of rows
  ...names(`array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_json
    array_to_string array_upper cardinality generate_series generate_subscripts trim_array unnest`),
  // ranges
  ...names(`datemultirange daterange int4multirange int4range int8multirange int8range isempty lower_inc lower_inf multirange
    nummultirange numrange range_merge tsmultirange tsrange tstzmultirange tstzrange upper_inc upper_inf`),
  // JSON
  ...names(`json json_agg json_agg_strict json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object json_object_agg
    json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict json_object_keys json_populate_record
    json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_typeof row_to_json to_json`),
  ...names(`jsonb jsonb_agg jsonb_agg_strict jsonb_array_elements jsonb_array_elements_text jsonb_array_length
    jsonb_build_array jsonb_build_object jsonb_concat jsonb_contained jsonb_contains jsonb_delete jsonb_delete_path
    jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_agg_strict
    jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz
    jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz
    jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record
    jsonb_to_recordset jsonb_typeof to_jsonb`),
  // full-text search; ts_rewrite and ts_stat run SQL
  ...names(`array_to_tsvector get_current_ts_config json_to_tsvector jsonb_to_tsvector numnode phraseto_tsquery
    plainto_tsquery querytree setweight strip to_tsquery to_tsvector ts_delete ts_filter ts_headline ts_rank
    ts_rank_cd tsquery_phrase tsvector_to_array websearch_to_tsquery`),
  // addresses and shapes
  ...names(`abbrev area box broadcast center circle diagonal diameter family height host hostmask inet_merge
    inet_same_family isclosed isopen line lseg masklen netmask network npoints path pclose point polygon popen radius
    set_masklen slope width`),
  // about values and the server
  ...names(
    'hashtext hashtextextended pg_collation_for pg_column_size pg_size_bytes pg_size_pretty pg_typeof version',
  ),
])

/** Those that return rows of several columns in FROM. */
export const RECORDS: ReadonlySet<string> = new Set(
  names(`json_each json_each_text json_populate_record json_populate_recordset json_to_record json_to_recordset
    jsonb_each jsonb_each_text jsonb_populate_record jsonb_populate_recordset jsonb_to_record jsonb_to_recordset`),
)

/** Those whose one column is called `value`, whatever their alias. */
export const ELEMENTS: ReadonlySet<string> = new Set(
  names('json_array_elements json_array_elements_text jsonb_array_elements jsonb_array_elements_text'),
)

/** PostgreSQL's own operators: none of them reaches beyond its operands. */
export const OPERATORS: ReadonlySet<string> = new Set(
  names(`= <> != < <= > >= + - * / % ^ |/ ||/ @ & | # ~ << >> || ! !! ~~ !~~ ~~* !~~* ~* !~ !~* ^@ ~<~ ~<=~ ~>=~ ~>~
    -> ->> #> #>> #- @> <@ ? ?| ?& @? @@ @@@ && -|- &< &> <<= >>= <<| |>> &<| |&> <-> ## <^ >^ ?# ?- ?-| ?|| @-@ ~=
    *= *<> *< *<= *> *>=`),
)

/** Types a value may be cast to. Of the `reg…` ones only those that name no relation, function or role. */
export const TYPES: ReadonlySet<string> = new Set(
  names(`bit bool box bpchar bytea cidr circle date datemultirange daterange float4 float8 inet int2 int4
    int4multirange int4range int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8
    money numeric nummultirange numrange path point polygon record regconfig text time timestamp timestamptz
    timetz tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector uuid varbit varchar`),
)
