// Statements to prove and to run. $1 is the owner. Values for $2, $3, … follow `<-`, and are '1' by default.

const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('## '))

/** `tasks` and `notes` belong to the owner in `user_id`; `countries` and `labels` to nobody. */
export const DECLARATION = { owner: ['user_id'], owned: ['tasks', 'notes'], shared: ['countries', 'labels'] }

/** Rows of two users in every owned table, with different ids. No policy restricts a statement. */
export const SCHEMA = `
  create table tasks (id int primary key, user_id text not null, title text, description text, completed boolean not null default false,
    priority int, n int, parent_id int, due date, created_at timestamptz not null default now(), data jsonb, tags text[],
    unique (user_id, id));
  create table notes (id int, user_id text not null, task_id int, title text, body text, n int, created_at timestamptz not null default now(),
    primary key (user_id, id));
  create table countries (code text primary key, name text, n int);
  create table labels (id int primary key, name text unique, color text, user_id text);
  insert into countries values ('at', 'Austria', 1), ('be', 'Belgium', 2);
  insert into labels values (1, 'red', '#f00', 'alice'), (2, 'blue', '#00f', 'bob');
  insert into tasks select k * 10 + i, u, u || '-task-' || i, u || '-text-' || i, i % 2 = 0, i % 3, i, case when i > 1 then k * 10 + i - 1 end,
    date '2030-01-01' + i, timestamptz '2030-01-01 00:00Z' + i * interval '1 day', jsonb_build_object('who', u, 'list', jsonb_build_array(i, i + 1)), array[u || '-tag', 'all']
    from unnest('{alice,bob}'::text[]) with ordinality as v(u, k), generate_series(1, 4) i;
  insert into notes select i, u, k * 10 + i, u || '-note-' || i, u || '-body-' || i, i, timestamptz '2030-01-01 00:00Z' + i * interval '1 hour'
    from unnest('{alice,bob}'::text[]) with ordinality as v(u, k), generate_series(1, 4) i;`

/** What people write who remember the owner. */
export const HONEST: readonly string[] = lines(String.raw`
## one table
select id, title from tasks where user_id = $1
select * from tasks where user_id = $1
SELECT * FROM Tasks WHERE USER_ID = $1
select id from tasks where $1 = user_id
select id from tasks t where t.user_id = $1 and t.completed
select id from tasks as "t" where "t"."user_id" = $1
select "id", "title" from "tasks" where "user_id" = $1 order by "id" desc limit $2 offset $3 <- 2 ; 0
select id from tasks where user_id in ($1)
select id from tasks where user_id = any(array[$1])
select id from tasks where user_id = any(array[$1]::text[])
select id from tasks where user_id = some(array[$1])
select id from tasks where user_id is not distinct from $1
select id from tasks where (user_id, id) = ($1, $2) <- 11
select id from tasks where row(user_id, id) = row($1, $2) <- 11
select id from tasks where (user_id, id) in (($1, 11), ($1, 12))
select id from tasks where (id, user_id) in ((11, $1))
select id from tasks where user_id = $1::text
select id from tasks where user_id = cast($1 as varchar)
select id from tasks where user_id::text = $1
select id from tasks where ((user_id = $1) and ((id > 0) and (title is not null)))
select id from tasks where user_id = $1 and (completed or priority > 1)
select id from tasks where user_id = $1 and not (completed and priority = 2)
select id from tasks where (completed is true or n < 3) and user_id = $1
select t.* from tasks t where t.user_id = $1
select tasks.* from tasks where tasks.user_id = $1
select id, title from only tasks where user_id = $1
select id from public.tasks where user_id = $1
select public.tasks.id from public.tasks where tasks.user_id = $1
select 1
select now()
select $1::text
table countries
values (1, 'a'), (2, 'b')
select * from (values (1, 'a'), (2, 'b')) as v(id, name)
select code, name from countries where name = $2 or code = $1 <- Austria
## conditions
select id from tasks where user_id = $1 and title ilike '%' || $2 || '%' <- task
select id from tasks where user_id = $1 and title like 'alice%' escape '!'
select id from tasks where user_id = $1 and title ~ '\d+$'
select id from tasks where user_id = $1 and title ~* E'task-\\d' and title !~ '^x'
select id from tasks where user_id = $1 and title similar to '%(task|note)%'
select id from tasks where user_id = $1 and n between $2 and $3 <- 1 ; 3
select id from tasks where user_id = $1 and n not between symmetric 9 and 5
select id from tasks where user_id = $1 and n in (1, 2, 3) and id not in (99)
select id from tasks where user_id = $1 and id = any($2::int[]) <- {11,12}
select id from tasks where user_id = $1 and id <> all(array[1, 2])
select id from tasks where user_id = $1 and parent_id is null
select id from tasks where user_id = $1 and completed is not true and (n is null) is false
select id from tasks where user_id = $1 and title is distinct from $2 <- x
select id from tasks where user_id = $1 and (created_at, id) < ($2, $3) order by created_at desc, id desc limit 2 <- 2030-01-04 ; 14
select id from tasks where user_id = $1 and (created_at, id) > ('2030-01-02 00:00Z', 11) order by created_at, id fetch first 2 rows only
select id from tasks where user_id = $1 and created_at > now() - interval '1 day'
select id from tasks where user_id = $1 and due between current_date and current_date + 3000
select id from tasks where user_id = $1 and created_at >= date_trunc('month', $2::timestamptz) <- 2030-01-02
select id from tasks where user_id = $1 and extract(year from created_at) = 2030
select id from tasks where user_id = $1 and (created_at at time zone 'Europe/Vienna')::date = '2030-01-02'
select id from tasks where user_id = $1 and title = 'please update or delete from the table; drop it -- now /* ok */'
select id from tasks where user_id = $1 and title <> 'it''s "quoted" $$x$$'
select id from tasks where user_id = $1 and title <> $$a 'b' or true$$
select id from tasks where user_id = $1 and title <> $tag$ union select $tag$
select id from tasks where user_id = $1 -- and nothing else
select /* the list */ id from tasks /* of /* nested */ mine */ where user_id = $1
select id from tasks where user_id = $1 and title collate "C" > 'a' order by title collate "C"
select id from tasks where user_id = $1 and data @> '{"who": "alice"}' and data ? 'who' and data ?| array['a', 'who']
select id, data ->> 'who', data -> 'list' -> 0, data #>> '{list,0}' from tasks where user_id = $1 and data['who'] is not null
select id from tasks where user_id = $1 and data @@ '$.list[*] > 1' and jsonb_path_exists(data, '$.list[*] ? (@ > $x)', '{"x": 1}')
select id from tasks where user_id = $1 and tags && array['all'] and 'all' = any(tags) and tags[1] is not null and cardinality(tags) = 2
select id from tasks where user_id = $1 and tags @> $2::text[] <- {all}
select id from tasks where user_id = $1 and to_tsvector('english', title || ' ' || coalesce(description, '')) @@ plainto_tsquery('english', $2) <- task
select id, ts_rank(to_tsvector(title), q), ts_headline(title, q) from tasks, websearch_to_tsquery('english', $2) q where user_id = $1 and to_tsvector('english'::regconfig, title) @@ q <- task
select id from tasks where user_id = $1 and to_tsvector('simple', title) @@ to_tsquery('simple', 'a & b:*')
select id from tasks where user_id = $1 and starts_with(lower(title), 'a') and length(trim(both ' ' from title)) > 0 and position('-' in title) > 0
select id from tasks where user_id = $1 and tstzrange(created_at, created_at + interval '1 hour') && tstzrange('2030-01-01', '2031-01-01', '[)')
select id from tasks where user_id = $1 and (due, due + 1) overlaps (date '2030-01-01', date '2030-02-01')
select id from tasks where user_id = $1 and case when completed then n > 1 else n > 2 end
## expressions
select coalesce(description, title, ''), nullif(title, ''), greatest(n, 1), least(n, 2) from tasks where user_id = $1
select case priority when 0 then 'low' when 1 then 'mid' else 'high' end as level, (n % 2 = 0)::int from tasks where user_id = $1
select upper(tasks.title), initcap(title), substring(title from 1 for 3), overlay(title placing 'x' from 1), replace(title, 'a', 'b') from tasks where user_id = $1
select format('%s (%s)', title, id), concat_ws(', ', title, description), md5(title), left(title, 2), split_part(title, '-', 1) from tasks where user_id = $1
select to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS'), date_part('dow', created_at), age(created_at), make_interval(days => n) from tasks where user_id = $1
select round(avg(n), 2), sum(n)::float8 / nullif(count(*), 0) from tasks where user_id = $1
select id, n + 1, -n, n * 2.5, n ^ 2, |/ n::float8, abs(n), mod(n, 2), power(n, 2), ceil(n / 2.0) from tasks where user_id = $1
select array[id, n], row(id, title), array_to_string(tags, ','), string_to_array(title, '-'), array_length(tags, 1), tags[1:1] from tasks where user_id = $1
select gen_random_uuid(), random() < 2, current_timestamp is not null, localtimestamp is null, pg_typeof(id) from tasks where user_id = $1
select json_build_object('id', id, 'title', title) from tasks where user_id = $1
select to_jsonb(t) - 'data', row_to_json(t), to_json(t.*) from tasks t where t.user_id = $1
select t from tasks t where t.user_id = $1
select count(t), count(t.*) from tasks t where t.user_id = $1
select (jsonb_each_text(data)).key from tasks where user_id = $1
select t.id, e.value from tasks t cross join lateral jsonb_array_elements(t.data -> 'list') e where t.user_id = $1
select t.id, e.value from tasks t, jsonb_array_elements_text(t.data -> 'list') with ordinality e where t.user_id = $1 and e.value <> '1'
select jsonb_set(data, '{who}', '"x"'), jsonb_pretty(data), data || '{"a": 1}', data - 'who', jsonb_array_length(data -> 'list') from tasks where user_id = $1
select id::text || '-' || title as slug, title::varchar(5), n::numeric(10, 2), '{1,2}'::int[], interval '1 day' * n from tasks where user_id = $1
select distinct title from tasks where user_id = $1
select distinct on (priority) priority, id, title from tasks where user_id = $1 order by priority, created_at desc nulls last
## aggregates and windows
select count(*) from tasks where user_id = $1
select count(*) filter (where completed or n > 1) as done, count(distinct priority), bool_or(completed), max(created_at) from tasks where user_id = $1
select priority, count(*) from tasks where user_id = $1 group by priority having count(*) > 0 order by 2 desc, 1
select priority, completed, count(*), grouping(priority) from tasks where user_id = $1 group by grouping sets ((priority), (completed), ())
select priority, completed, count(*) from tasks where user_id = $1 group by rollup (priority, completed)
select priority, completed, count(*) from tasks where user_id = $1 group by cube (priority, completed) order by 1 nulls first
select date_trunc('day', created_at) as day, count(*) from tasks where user_id = $1 group by day order by day
select string_agg(title, ', ' order by title desc), array_agg(distinct n order by n), jsonb_object_agg(id, title) from tasks where user_id = $1
select jsonb_agg(jsonb_build_object('id', id) order by id) filter (where not completed) from tasks where user_id = $1
select percentile_cont(0.5) within group (order by n), mode() within group (order by priority), stddev(n), corr(n, id) from tasks where user_id = $1
select id, row_number() over (partition by priority order by created_at desc), rank() over w, dense_rank() over w from tasks where user_id = $1 window w as (order by n)
select id, sum(n) over (order by id rows between unbounded preceding and current row), avg(n) over (order by n range between 1 preceding and 1 following exclude ties) from tasks where user_id = $1
select id, lag(title, 1, 'none') over (order by id), lead(id) over w, first_value(id) over w, nth_value(id, 2) over (w rows unbounded preceding), ntile(2) over w from tasks where user_id = $1 window w as (order by id)
select id, count(*) over () as total from tasks where user_id = $1 order by id limit 2
select user_id, count(*) from tasks where user_id = $1 group by user_id having user_id = $1
## joins
select t.id, n.title from tasks t join notes n on n.task_id = t.id and n.user_id = t.user_id where t.user_id = $1
select t.id, n.title from tasks t join notes n on n.task_id = t.id where t.user_id = $1 and n.user_id = $1
select t.id, n.title from tasks t join notes n on n.task_id = t.id where t.user_id = $1 and n.user_id = t.user_id
select t.id, n.title from tasks t join notes n on (n.user_id, n.task_id) = (t.user_id, t.id) where t.user_id = $1
select t.id, n.title from tasks t left join notes n on n.task_id = t.id and n.user_id = t.user_id where t.user_id = $1
select t.id, n.title from tasks t left join notes n on n.task_id = t.id and n.user_id = $1 where t.user_id = $1
select t.id, n.title from tasks t left join notes n on n.task_id = t.id and t.user_id = n.user_id where t.user_id = $1 and n.id is null
select t.id, n.title from notes n right join tasks t on n.task_id = t.id and n.user_id = t.user_id where t.user_id = $1
select t.id, n.title from tasks t inner join notes n using (user_id) where t.user_id = $1
select id, n.title from tasks t join notes n using (user_id, id) where user_id = $1
select t.id, n.title from tasks t left join notes n using (user_id) where user_id = $1
select t.id, n.title from tasks t, notes n where t.user_id = $1 and n.user_id = t.user_id and n.task_id = t.id
select t.id, n.title from tasks t, notes n where t.user_id = n.user_id and n.user_id = $1
select a.id, b.id from tasks a join tasks b on b.parent_id = a.id and b.user_id = a.user_id where a.user_id = $1
select a.id, b.id, c.id from tasks a join tasks b on b.user_id = a.user_id left join notes c on c.user_id = b.user_id and c.task_id = b.id where a.user_id = $1
select t.id, c.name from tasks t cross join countries c where t.user_id = $1
select t.id, l.name from tasks t join labels l on l.id = t.priority where t.user_id = $1
select t.id, l.name from labels l left join tasks t on t.priority = l.id and t.user_id = $1
select t.id, l.name from tasks t join countries l on l.n = t.priority where user_id = $1
select t.id, n.id from (select * from tasks where user_id = $1) t full join (select * from notes where user_id = $1) n on n.task_id = t.id
select t.id, n.id from tasks t full join notes n on n.task_id = t.id where t.user_id = $1 and n.user_id = $1
select t.id, x.id from (tasks t join notes x on x.user_id = t.user_id and x.task_id = t.id) left join labels l on l.id = t.n where t.user_id = $1
select t.id, n.id from tasks t left join (notes n join labels l on l.id = n.n) on n.task_id = t.id and n.user_id = t.user_id where t.user_id = $1
select count(*) from tasks t join notes n on n.user_id = $1 and n.task_id = t.id and t.user_id = $1
## sub-queries
select q.id from (select id, title from tasks where user_id = $1) q
select * from (select id, title from tasks where user_id = $1 order by id limit 3) as q(a, b) where a > 0
select n.title from (select * from tasks where user_id = $1) q join notes n on n.user_id = q.user_id and n.task_id = q.id
select n.title from (select user_id, id from tasks where user_id = $1 limit 1) q(u, i) join notes n on n.user_id = q.u
select id, (select count(*) from notes n where n.user_id = t.user_id and n.task_id = t.id) as notes from tasks t where t.user_id = $1
select id, (select count(*) from notes n where n.user_id = $1 and n.task_id = t.id) as notes from tasks t where t.user_id = $1
select id from tasks t where t.user_id = $1 and exists (select 1 from notes n where n.task_id = t.id and n.user_id = t.user_id)
select id from tasks t where t.user_id = $1 and not exists (select from notes n where n.user_id = t.user_id and n.task_id = t.id and n.n > 2)
select id from tasks where user_id = $1 and id in (select task_id from notes where user_id = $1)
select id from tasks where user_id = $1 and id = any(select task_id from notes where user_id = $1)
select id from tasks where user_id = $1 and n >= all(select n from notes where user_id = $1 and n < 2)
select id from tasks where user_id = $1 and (id, n) in (select task_id, n from notes where user_id = $1)
select id from tasks where user_id = $1 and n > (select avg(n) from tasks where user_id = $1)
select id, array(select title from notes n where n.user_id = t.user_id and n.task_id = t.id order by 1) from tasks t where t.user_id = $1
select t.id, x.last from tasks t left join lateral (select max(n.created_at) as last from notes n where n.user_id = t.user_id and n.task_id = t.id) x on true where t.user_id = $1
select t.id, x.title from tasks t cross join lateral (select title from notes n where n.user_id = t.user_id and n.task_id = t.id limit 1) x where t.user_id = $1
select t.id, x.title from tasks t, lateral (select title from notes n where n.user_id = t.user_id order by id limit 1) x where t.user_id = $1
select t.id, x.v from tasks t, jsonb_array_elements(t.data -> 'list') as x(v) where t.user_id = $1
select t.id, tag from tasks t cross join unnest(t.tags) as tag where t.user_id = $1
select t.id, x.key, x.value from tasks t, jsonb_each_text(t.data) x where t.user_id = $1
select l.name, (select json_agg(t.title order by t.id) from tasks t where t.user_id = $1 and t.priority = l.id) from labels l
select (select coalesce(json_agg(agg), '[]') from (select n.id, n.title from notes as n where n.user_id = tasks.user_id and n.task_id = tasks.id) as agg) as notes, id from tasks where tasks.user_id = $1
select (select to_json(obj) from (select n.id, n.title from notes as n where n.user_id = $1 order by n.id limit 1) as obj) as note from tasks where tasks.user_id = $1
select day::date, (select count(*) from tasks t where t.user_id = $1 and t.due = day::date) from generate_series('2030-01-01'::date, '2030-01-05', interval '1 day') as day
select v.id, t.title from (values (11), (12)) v(id) join tasks t on t.id = v.id and t.user_id = $1
select u.title, u.k, $1::text from unnest($2::text[]) with ordinality as u(title, k) <- {a,b}
select t.id, u.k from tasks t join unnest($2::int[]) with ordinality as u(id, k) on u.id = t.id where t.user_id = $1 order by u.k <- {12,11}
select x.* from jsonb_to_recordset('[{"a":1,"b":"x"}]') as x(a int, b text)
select x.a from json_to_record('{"a":1}') x(a int)
select a, b from rows from (generate_series(1, 2), unnest(array['x', 'y'])) as r(a, b)
select g from generate_series(1, 3) g where g > (select count(*) from tasks where user_id = $1 and false)
## set operations
select id, title from tasks where user_id = $1 union all select id, title from notes where user_id = $1 order by 1 limit 5
select id from tasks where user_id = $1 union select task_id from notes where user_id = $1
select id from tasks where user_id = $1 intersect select task_id from notes where user_id = $1
select id from tasks where user_id = $1 except all select task_id from notes where user_id = $1 and n > 1
(select id from tasks where user_id = $1 order by id limit 1) union all (select id from notes where user_id = $1 order by id desc limit 1)
select * from (select title, user_id from tasks where user_id = $1 union all select title, user_id from notes where user_id = $1) q where q.title <> ''
select n.title from (select user_id from tasks where user_id = $1 union select $1) q join notes n on n.user_id = q.user_id
select 'task' as kind, count(*) from tasks where user_id = $1 union all select 'note', count(*) from notes where user_id = $1
## with
with mine as (select * from tasks where user_id = $1) select id, title from mine
with mine as (select * from tasks where user_id = $1) select count(*) from mine m join notes n on n.user_id = m.user_id and n.task_id = m.id
with mine as materialized (select id from tasks where user_id = $1), other as not materialized (select id from mine) select * from other
with tasks as (select * from tasks where user_id = $1) select * from tasks
with tasks as (select * from tasks where user_id = $1), notes as (select n.* from notes n join tasks t on n.user_id = t.user_id and n.task_id = t.id) select * from notes
with me as (select $1::text as id) select t.title from tasks t join me on me.id = t.user_id
with me(id) as (values ($1::text)) select t.title from tasks t, me where t.user_id = me.id
with recursive tree as (select id, parent_id, user_id, 1 as depth from tasks where user_id = $1 and parent_id is null union all select c.id, c.parent_id, c.user_id, p.depth + 1 from tasks c join tree p on c.parent_id = p.id and c.user_id = p.user_id) select * from tree
with recursive tree(id, owner) as (select id, user_id from tasks where user_id = $1 and parent_id is null union select c.id, c.user_id from tasks c, tree p where c.parent_id = p.id and c.user_id = p.owner) select id from tree
with recursive tree as (select id, parent_id from tasks where user_id = $1 and parent_id is null union all select c.id, c.parent_id from tasks c join tree p on c.parent_id = p.id where c.user_id = $1) search depth first by id set ord cycle id set is_cycle using path select id from tree order by ord
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select i from n
with a as (with b as (select id from tasks where user_id = $1) select id from b) select * from a
with done as (update tasks set completed = true where user_id = $1 and n = 1 returning id, title) select * from done
with gone as (delete from notes where user_id = $1 and n > 3 returning *) insert into notes (id, user_id, title) select id + 100, $1, title from gone
with moved as (delete from notes where user_id = $1 and n > 3 returning user_id, id, title) insert into notes (id, user_id, title) select id + 100, user_id, title from moved returning id
with added as (insert into tasks (id, user_id, title) values (900, $1, 'new') returning id, user_id) insert into notes (id, user_id, task_id) select 900, a.user_id, a.id from added a
with s as (select count(*) as n from tasks where user_id = $1), t as (select count(*) as n from notes where user_id = $1) select s.n, t.n from s, t
## locks
select id from tasks where user_id = $1 for update
select id from tasks where user_id = $1 order by id limit 1 for update skip locked
select t.id from tasks t join countries c on true where t.user_id = $1 for no key update of t nowait
select id from tasks where user_id = $1 for key share
## insert
insert into tasks (id, user_id, title) values (901, $1, 'new')
insert into tasks (id, title, user_id) values (901, 'new', $1) returning *
insert into tasks (id, user_id, title, data) values ($2, $1, $3, $4::jsonb) returning id, title, created_at <- 901 ; new ; {"a":1}
insert into tasks (id, user_id, title) values (901, $1, 'a'), (902, $1, 'b'), (903, $1, default)
insert into "tasks" ("id", "user_id", "title", "completed") values ($2, $1, $3, default) <- 901 ; new
insert into tasks as t (id, user_id, title) values (901, $1, 'new') returning t.id, t.title as name
insert into tasks (id, user_id, title) values (901, $1::text, upper('new'))
insert into tasks (id, user_id, title) select id + 900, $1, title || '!' from tasks where user_id = $1
insert into tasks (id, user_id, title) select id + 900, user_id, title || '!' from tasks where user_id = $1
insert into notes (id, user_id, task_id, title) select 900, t.user_id, t.id, 'x' from tasks t where t.user_id = $1 and t.id = 11
insert into tasks (id, user_id, title) select 900 + k, $1, u from unnest($2::text[]) with ordinality as v(u, k) <- {x,y}
insert into tasks (id, user_id, title) select 901, $1, 'a' union all select 902, $1, 'b'
insert into tasks (id, user_id, title) select n + 900, $1, name from countries where n > (select count(*) from tasks where user_id = $1 and false)
insert into tasks (id, user_id, title) values (11, $1, 'x') on conflict do nothing
insert into tasks (id, user_id, title) values (11, $1, 'x') on conflict (id) do nothing returning id
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id, id) do update set title = excluded.title, n = notes.n + 1 returning *
insert into notes as n (id, user_id, title) values (1, $1, 'x') on conflict (id, user_id) do update set (title, n) = (excluded.title, n.n)
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id, id) do update set title = coalesce(excluded.title, notes.title) where notes.n < 100
insert into tasks (id, user_id, title) values (11, $1, 'x') on conflict (id) do update set title = excluded.title where tasks.user_id = $1
insert into tasks (id, user_id, title) values (11, $1, 'x') on conflict (id) do update set title = excluded.title where tasks.user_id = excluded.user_id
insert into tasks (id, user_id, title) values (11, $1, 'x') on conflict on constraint tasks_pkey do update set title = excluded.title, completed = true where tasks.user_id = $1 and tasks.n > 0
insert into countries (code, name) values ('ch', 'Switzerland') on conflict (code) do update set name = excluded.name
insert into countries values ('ch', 'Switzerland')
insert into labels (id, name) select 900 + count(*), 'x' from tasks where user_id = $1
## update
update tasks set title = 'x' where user_id = $1 and id = 11
update tasks set title = 'x', completed = not completed, n = n + 1, created_at = now(), data = data || '{"a": 1}', tags[1] = 'z' where user_id = $1 and id = $2 returning * <- 11
update tasks as t set title = upper(t.title) where t.user_id = $1 returning t.id
update tasks set (title, n) = ('x', 5) where user_id = $1 and id = 11
update tasks set (title, n) = (select 'x' || max(n.title), max(n.n) from notes n where n.user_id = tasks.user_id and n.task_id = tasks.id) where user_id = $1
update tasks set n = (select count(*) from notes where user_id = $1 and task_id = tasks.id) where user_id = $1
update tasks t set title = t.title || n.title from notes n where n.task_id = t.id and n.user_id = t.user_id and t.user_id = $1
update tasks set n = v.n from (values (11, 5), (12, 6)) v(id, n) where tasks.id = v.id and tasks.user_id = $1
update tasks set n = u.k from unnest($2::int[]) with ordinality as u(id, k) where tasks.id = u.id and tasks.user_id = $1 returning tasks.id <- {12,11}
update tasks set completed = true where (user_id, id) in (($1, 11), ($1, 12))
update tasks set completed = true where user_id = $1 and id in (select task_id from notes where user_id = $1)
update tasks set title = default where user_id = $1 and id = 11
with c as (select id from tasks where user_id = $1 order by id limit 1 for update skip locked) update tasks set completed = true from c where tasks.id = c.id and tasks.user_id = $1 returning tasks.*
update labels set color = 'x' where id = 1
## delete
delete from tasks where user_id = $1
delete from tasks where user_id = $1 and id = any($2::int[]) returning id <- {11}
delete from tasks t using notes n where n.user_id = t.user_id and n.task_id = t.id and t.user_id = $1 returning t.title
delete from notes n using tasks t where n.task_id = t.id and n.user_id = $1 and t.user_id = $1 and t.completed
delete from notes where user_id = $1 and not exists (select 1 from tasks t where t.user_id = notes.user_id and t.id = notes.task_id)
## merge
merge into tasks t using countries c on c.n = t.n and t.user_id = $1 when matched then update set title = c.name when not matched then insert (id, user_id, title) values (900 + c.n, $1, c.name)
merge into tasks t using (select * from notes where user_id = $1) n on t.user_id = n.user_id and t.id = n.task_id when matched and n.n = 1 then delete when matched then update set title = n.title || '!' when not matched then insert (id, user_id, title) values (n.id + 900, n.user_id, n.title)
merge into tasks t using notes n on t.user_id = n.user_id and t.id = n.task_id and t.user_id = $1 when matched then update set description = n.title
merge into notes n using (values (1, 'x'), (99, 'y')) v(id, title) on n.user_id = $1 and n.id = v.id when matched then do nothing when not matched then insert (user_id, id, title) values ($1, v.id, v.title)
merge into countries c using (select title, n from tasks where user_id = $1 and n < 3) t on c.n = t.n when matched then update set name = t.title
## more of all
select t.title from labels l left join tasks t on t.user_id = $1 right join countries c on true
select t.title from countries c left join (labels l left join tasks t on t.user_id = $1) on true
select t.title from countries c left join (labels l right join tasks t on l.user_id = t.user_id) on t.user_id = $1
select t.title from (labels l left join tasks t on l.user_id = t.user_id) where l.user_id = $1
select t.title from labels l full join tasks t on l.user_id = t.user_id where t.user_id = $1
select t.title from labels l, lateral (select title from tasks t where t.user_id = l.user_id) t where l.user_id = $1
select t.title from labels l left join lateral (select title from tasks t where t.user_id = l.user_id) t on l.user_id = $1
select x.c from labels l left join lateral (select count(*) c from tasks t where t.user_id = l.user_id) x on l.user_id = $1
select l.name from labels l left join countries c on l.user_id = $1 and exists (select 1 from tasks t where t.user_id = l.user_id and t.n = 1)
select (select count(*) from tasks t where t.user_id = l.user_id) from countries c left join labels l on l.user_id = $1
select (select count(*) from tasks t where t.user_id = q.user_id) from (select $1::text as user_id) q
select (select count(*) from tasks t where t.user_id = q.u) from (select $1::text as u) q, lateral (select 'bob' as u) r
with recursive q as (select $1::text as user_id), r as (select t.title from tasks t, q where t.user_id = q.user_id) select * from r
select t.title from tasks t, (select distinct on (n) $1::text as u from labels, (values(1)) x(n)) q where t.user_id = q.u
select t.title from tasks t where (t.user_id, t.user_id) = ($1, t.title)
select t.title from tasks t where (t.user_id)::text = ($1)::text
select t.title from tasks t where $1 in (t.user_id)
select t.title from tasks t where $1 = any(array[t.user_id])
insert into tasks (user_id, id, title) select u.*, 970, 'x' from (values ($1::text)) u
insert into tasks (id, user_id) values (971, ($1))
insert into tasks (id, user_id) values (971, $1) returning (select count(*) from notes n where n.user_id = tasks.user_id)
insert into notes (id, user_id) values (1, $1) on conflict (id, user_id) do update set title = (select max(title) from tasks where user_id = excluded.user_id)
insert into notes (id, user_id) values (1, $1) on conflict (id, user_id) do update set title = (select max(title) from tasks where tasks.user_id = notes.user_id)
update labels as tasks set name = 'x' from tasks t where t.user_id = tasks.user_id and tasks.user_id = $1
update tasks set title = 'x' from labels l where l.user_id = tasks.user_id and l.user_id = $1
delete from labels l using tasks t where t.user_id = l.user_id and l.user_id = $1
select sum(n) over (partition by user_id) from tasks where user_id = $1
select * from jsonb_populate_recordset(null::tasks, '[{"id":1}]') r
select * from (select 1) as q(pg_read_file) where q.pg_read_file = 1
select (tasks).* from tasks where user_id = $1
select a.id, c.id from tasks a left join tasks b on b.user_id = a.user_id left join notes c on c.user_id = b.user_id where a.user_id = $1
select b.id from labels a left join (labels x left join tasks b on b.user_id = x.user_id) on x.user_id = $1
select b.id from labels a left join labels x on x.user_id = a.user_id and x.user_id = $1 join tasks b on b.user_id = x.user_id
select b.id from labels a full join (select $1::text as u) x on x.u = a.user_id join tasks b on b.user_id = x.u
select * from (select * from tasks where user_id = $1 union all select * from tasks where user_id = $1) q join notes n on n.user_id = q.user_id
SELECT t.*, n.title AS note_title FROM tasks AS t INNER JOIN notes AS n ON n.task_id = t.id AND n.user_id = t.user_id WHERE t.user_id = $1 ORDER BY t.created_at DESC NULLS LAST LIMIT 20 OFFSET 40
select id, title from tasks where user_id=$1 and title like 'select * from users; drop table x; --%'
select count(*)::int as "total", count(*) filter (where "completed")::int as "done" from "tasks" where "user_id" = $1
select "t"."id", coalesce("n"."cnt", 0) as "cnt" from "tasks" as "t" left join (select "task_id", count(*) as "cnt" from "notes" where "user_id" = $1 group by "task_id") as "n" on "n"."task_id" = "t"."id" where "t"."user_id" = $1
select t.id, (select json_agg(json_build_object('id', n.id, 'title', n.title) order by n.created_at desc) from notes n where n.task_id = t.id and n.user_id = $1) notes from tasks t where t.user_id = $1
with recent as (select * from tasks where user_id = $1 and created_at > now() - interval '7 days'), stats as (select count(*) c, avg(n) a from recent) select r.*, s.c, s.a from recent r cross join stats s
select date_trunc('week', created_at at time zone 'UTC')::date as week, count(*) from tasks where user_id = $1 group by 1 order by 1
select id, rank() over (order by ts_rank_cd(to_tsvector('english', title), plainto_tsquery('english', $2)) desc) from tasks where user_id = $1 and to_tsvector('english', title) @@ plainto_tsquery('english', $2)
select id from tasks where user_id = $1 and exists (select 1 from unnest(tags) as tag where tag ilike $2)
select id from tasks where user_id = $1 and exists (select 1 from jsonb_array_elements_text(data -> 'list') as e(v) where e.v = $2)
select id, title, ntile(4) over (order by n) as quartile, cume_dist() over (order by n), percent_rank() over (order by n) from tasks where user_id = $1
select id from tasks where user_id = $1 and n = (select max(n) from tasks where user_id = $1)
select id from tasks t1 where t1.user_id = $1 and n = (select max(t2.n) from tasks t2 where t2.user_id = t1.user_id and t2.priority = t1.priority)
update tasks set completed = true, data = jsonb_set(coalesce(data, '{}'::jsonb), '{completedAt}', to_jsonb(now())) where id = $2 and user_id = $1 returning id, completed
insert into notes (user_id, id, title) values ($1, $2, $3) on conflict (user_id, id) do update set title = excluded.title, n = coalesce(notes.n, 0) + 1 where notes.title is distinct from excluded.title returning *, (xmax = 0) as inserted
delete from tasks where user_id = $1 and id in (select id from tasks where user_id = $1 and completed order by created_at limit 10) returning id
delete from tasks where ctid in (select ctid from tasks where user_id = $1 limit 10) and user_id = $1
select * from tasks where user_id = $1 and (case when $2::text is null then true else title ilike '%' || $2 || '%' end)
select * from tasks where user_id = $1 and (completed, priority) in ((true, 1), (false, 2))
select * from tasks where user_id = $1 and title ~ '^[A-Z]\w+' and title !~* 'foo|bar'
select regexp_replace(title, '\s+', ' ', 'g'), regexp_matches(title, '(\d+)', 'g'), regexp_split_to_array(title, ',\s*') from tasks where user_id = $1
select title || E'\n' || coalesce(description, E'it\'s') from tasks where user_id = $1
select t.title, l.name from tasks t left join labels l on l.id = t.priority where t.user_id = $1 and l.name is not null
select l.name, count(t.id) from labels l left join tasks t on t.priority = l.id and t.user_id = $1 group by l.id, l.name having count(t.id) >= 0 order by count(t.id) desc, l.name
select to_char(d, 'YYYY-MM-DD') as day, coalesce(c.n, 0) from generate_series(now() - interval '6 days', now(), interval '1 day') d left join (select date_trunc('day', created_at) as day, count(*) n from tasks where user_id = $1 group by 1) c on c.day = date_trunc('day', d)
select jsonb_object_agg(priority, c) from (select priority, count(*) c from tasks where user_id = $1 group by priority) s
select array_agg(distinct tag order by tag) from tasks, unnest(tags) tag where user_id = $1
select id from tasks where user_id = $1 order by case when completed then 1 else 0 end, random()
select id from tasks where user_id = $1 order by n desc fetch first 5 rows with ties
select id from tasks where user_id = $1 offset 5 rows fetch next 5 rows only
select distinct t.priority from tasks t where t.user_id = $1 order by t.priority
select sum(n) filter (where n > 0) over w as s, max(n) over w from tasks where user_id = $1 window w as (partition by priority order by id groups between current row and unbounded following exclude current row)
select percentile_disc(array[0.25, 0.5]) within group (order by n) from tasks where user_id = $1
with recursive sub as (select id, parent_id, title, array[id] as path from tasks where user_id = $1 and id = $2 union all select t.id, t.parent_id, t.title, s.path || t.id from tasks t join sub s on t.parent_id = s.id where t.user_id = $1 and not t.id = any(s.path)) select * from sub order by path
with recursive up as (select * from tasks where user_id = $1 and id = $2 union select t.* from tasks t join up on up.parent_id = t.id and up.user_id = t.user_id) select * from up
with upd as (update tasks set n = n + 1 where user_id = $1 and id = $2 returning *), ins as (insert into notes (user_id, id, title) select user_id, id, title from upd returning *) select upd.id, ins.title from upd left join ins on ins.id = upd.id
with t as (select id from tasks where user_id = $1), n as (select task_id from notes where user_id = $1) select (select count(*) from t), (select count(*) from n where task_id in (select id from t))
select coalesce(jsonb_agg(to_jsonb(x)), '[]'::jsonb) from (select id, title from tasks where user_id = $1 order by id) x
select row_to_json(x) from (select t.id, t.title, (select coalesce(json_agg(n), '[]') from notes n where n.user_id = t.user_id and n.task_id = t.id) as notes from tasks t where t.user_id = $1) x
select t.id from tasks t where t.user_id = $1 and t.id not in (select n.task_id from notes n where n.user_id = $1 and n.task_id is not null)
select t.id from tasks t where $1 = t.user_id and exists (select * from notes where notes.user_id = t.user_id and notes.task_id = t.id)
select t.id from tasks t left join notes n on (n.task_id = t.id and n.user_id = t.user_id) where (t.user_id = $1) and (n.id is null)
select id, created_at - lag(created_at) over (order by created_at) as gap from tasks where user_id = $1
select extract(epoch from now() - created_at)::int, date_part('year', age(created_at)) from tasks where user_id = $1
select * from tasks where user_id = $1 and created_at::date = current_date - 1
select * from tasks where user_id = $1 and daterange(due, due + 7, '[]') @> current_date
select * from tasks where user_id = $1 and due is not null and due < 'today' and due > 'yesterday'::date
select * from tasks where user_id = $1 and (data ->> 'n')::int > 5 and data -> 'a' -> 'b' ->> 'c' = 'd' and data @? '$.x'
select * from tasks where user_id = $1 and data @> jsonb_build_object('who', $2::text)
select * from tasks where user_id = $1 and title = any (string_to_array($2, ','))
select * from tasks where user_id = $1 and title in (select name from labels)
select bool_and(completed), every(completed), bit_or(n), variance(n), regr_slope(n, id) from tasks where user_id = $1
select id, title from tasks where user_id = $1 union (select id, title from notes where user_id = $1) order by title limit 10 offset 5
(select id from tasks where user_id = $1) except (select task_id from notes where user_id = $1)
select 'x' as kind, t.id from tasks t where t.user_id = $1 union all select 'y', n.id from notes n where n.user_id = $1 order by kind, id
values ($1::text, 1), ('b', 2)
select * from (values (1, 'one'), (2, 'two')) as t (num, letter)
select generate_series(1, 10)
select exists (select 1 from tasks where user_id = $1 and id = $2)
select exists (select 1 from tasks where user_id = $1) as has, not exists (select 1 from notes where user_id = $1)
select current_date, current_time, localtimestamp, current_user, session_user
select nullif(trim(title), '') is null, char_length(title), reverse(title), lpad(id::text, 5, '0'), translate(title, 'abc', 'xyz') from tasks where user_id = $1
select greatest(created_at, now()), least(n, 5), sign(n), trunc(n::numeric, 1), width_bucket(n, 0, 10, 5) from tasks where user_id = $1
select tasks.user_id as owner from tasks where tasks.user_id = $1 group by tasks.user_id
select priority, string_agg(distinct title, ', ') filter (where title <> '') as titles from tasks where user_id = $1 group by priority
select cast(n as decimal(10, 2)), n::double precision, title::char(10), n::bigint, now()::timestamp(0), '1 day'::interval, '12:00'::time, true::int from tasks where user_id = $1
select id from tasks where user_id = $1 and n::text similar to '(1|2)%' and title not ilike 'x%'
select t.id, s.cnt, s.last from tasks t join lateral (select count(*) cnt, max(n.created_at) as last from notes n where n.task_id = t.id and n.user_id = t.user_id) s on true where t.user_id = $1
select t.id, u.name, p.name from tasks t join labels u on u.id = t.id join labels p on p.id = t.n where t.user_id = $1
select id from tasks where user_id = $1 for update of tasks
select id from tasks where user_id = $1 for no key update skip locked limit 1
update tasks set n = s.rn from (select id, row_number() over (order by created_at) as rn from tasks where user_id = $1) s where s.id = tasks.id and tasks.user_id = $1
update tasks t set n = l.id from labels l where l.name = t.title and t.user_id = $1 returning t.*, l.name
update only tasks set title = $2 where user_id = $1
delete from notes using labels where notes.user_id = $1 and labels.name = notes.title
merge into tasks as t using (select $1::text as user_id, $2::int as id, $3::text as title) as s on t.user_id = s.user_id and t.id = s.id when matched then update set title = s.title when not matched then insert (user_id, id, title) values (s.user_id, s.id, s.title)
merge into tasks t using (values ($1::text, 1, 'x')) s(user_id, id, title) on t.user_id = s.user_id and t.id = s.id when matched and t.title <> s.title then update set title = s.title when not matched then insert (user_id, id, title) values ($1, s.id, s.title)
merge into tasks t using (values (1, 'x')) s(id, title) on t.user_id = $1 and t.id = s.id when matched then delete
insert into notes (user_id, id, task_id, title) select t.user_id, t.id, t.id, t.title from tasks t left join notes n on n.user_id = t.user_id and n.task_id = t.id where t.user_id = $1 and n.id is null
insert into tasks (user_id, id, title) (select $1, 1, 'x')
insert into tasks (user_id, id, title) with s as (select 1 as id) select $1, s.id, 'x' from s
with s as (select 1 as id) insert into tasks (user_id, id, title) select $1, s.id, 'x' from s
insert into tasks (id, user_id, title) overriding system value values (1, $1, 'x')
insert into tasks (user_id, id, title) values ($1, (select coalesce(max(id), 0) + 1 from tasks where user_id = $1), 'x')
insert into tasks as t (user_id, id, title) values ($1, 1, 'x') on conflict (id) do update set title = excluded.title where t.user_id = excluded.user_id
insert into tasks (user_id, id, title) values ($1, 1, 'x') on conflict (user_id, id) where completed do update set title = 'y'
select t.title from tasks t join notes n on n.user_id = t.user_id and t.user_id = $1
select t.title from (tasks t join notes n on n.user_id = t.user_id) where t.user_id = $1
select t.title from tasks t left join notes n on n.user_id = $1 left join notes m on m.user_id = n.user_id and m.id = n.id where t.user_id = $1
select t.title from tasks t where t.user_id = $1::varchar
select t.title from tasks t where t.user_id = cast($1 as text) and t.title <> ''
select t.title from tasks t where (t.user_id) = ($1)
select t.title from tasks t where t.user_id = $1 and true
select t.title from tasks t where true and (t.user_id = $1)
SELECT "tasks"."id" FROM "public"."tasks" WHERE "public"."tasks"."user_id" = $1
SELECT "public"."tasks"."id" FROM "public"."tasks" WHERE ("public"."tasks"."user_id" = $1 AND 1=1) OFFSET 0
select jsonb_path_query_array(data, '$.list[*]'), jsonb_strip_nulls(data), data #- '{a}' from tasks where user_id = $1
select t.id, x.ord from tasks t, unnest(t.tags) with ordinality x(tag, ord) where t.user_id = $1
select x.* from tasks t, jsonb_each(t.data) x where t.user_id = $1
select s.i from tasks t, generate_series(1, t.n) as s(i) where t.user_id = $1
select s.i from tasks t cross join lateral generate_series(1, t.n) s(i) where t.user_id = $1
select gs.gs from generate_series(1, 3) gs
select ts_headline('english', title, to_tsquery('english', 'x'), 'StartSel=<b>, StopSel=</b>') from tasks where user_id = $1
select setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector(coalesce(description, '')), 'B') from tasks where user_id = $1
select id from tasks where user_id = $1 and (title = '') is not true and (n > 1) is unknown
select id from tasks where user_id = $1 and num_nulls(title, description) = 0
select mode() within group (order by priority) from tasks where user_id = $1
select id from tasks where tasks.user_id = $1 and id = $2 limit 1 for share
select rank(5) within group (order by n) from tasks where user_id = $1
select grouping(priority, completed), priority, completed, sum(n) from tasks where user_id = $1 group by grouping sets ((priority, completed), rollup (priority), ())
select json_object_agg(title, n), json_object(array['a', 'b']), jsonb_object('{a,1}') from tasks where user_id = $1
select xmin, ctid, tableoid from tasks where user_id = $1
select t.id, (t.created_at + make_interval(hours => 2)) at time zone 'Europe/Vienna' from tasks t where user_id = $1
select count(*) from tasks where user_id = $1 and id between symmetric 10 and 5
select array(select jsonb_array_elements_text(data -> 'list')) from tasks where user_id = $1
select user_id, t.title from labels l right join tasks t using (user_id) where user_id = $1
select id from tasks t where t.user_id = $1 and exists (select 1 from notes n join labels l on n.user_id = t.user_id)
select t.title from tasks t where (t.user_id = $1 and t.n = 1) or (t.user_id = $1 and t.n = 2)
`)

/** What people write who forget the owner, and what attackers write: it shows or changes rows of others. */
export const LEAKING: readonly string[] = lines(String.raw`
## forgotten
select * from tasks
select id from tasks where id = $2 and $1 = $1 <- 21
select id from tasks where user_id = $2 and $1 <> '' <- bob
select id from tasks where user_id = 'bob'
select id from tasks where user_id is not null
select id from tasks where user_id = user_id
select id from tasks t where t.user_id = t.title or true
select id from tasks where user_id = lower($1) or user_id like '%'
select title from tasks where title like '%' || $1 || '%' or true
select count(*) from tasks
select count(*) from tasks where completed
select max(title) from tasks having count(*) > 0
select user_id from tasks group by user_id having user_id <> $1
select count(*) filter (where user_id = $1), count(*) from tasks
select distinct user_id from tasks
table tasks
select * from only tasks
select * from public.tasks
select * from "tasks"
select * from TASKS
select * from U&"t\0061sks"
select * from U&"t!0061sks" uescape '!'
select title from tasks where $1::text is not null
select title from tasks order by user_id = $1 limit 100
select 1 from tasks where $1 = $1
## not a conjunct
select id from tasks where user_id = $1 or true
select id from tasks where user_id = $1 or id = 21
select id from tasks where completed and user_id = $1 or not completed
select id from tasks where (user_id = $1 and completed) or n > 0
select id from tasks where not (user_id = $1)
select id from tasks where not user_id = $1
select id from tasks where user_id <> $1
select id from tasks where user_id >= $1
select id from tasks where user_id > $1
select id from tasks where user_id is distinct from $1
select id from tasks where user_id not in ($1)
select id from tasks where user_id in ($1, 'bob')
select id from tasks where user_id in ($1, user_id)
select id from tasks where user_id = any(array[$1, 'bob'])
select id from tasks where user_id = any(array['bob', $1])
select id from tasks where user_id <> all(array[$1])
select id from tasks where user_id = any(array[$1] || array['bob'])
select id from tasks where user_id = any(array_append(array[$1], 'bob'))
select id from tasks where (user_id, id) > ($1, 0)
select id from tasks where (user_id, id) <> ($1, 0)
select id from tasks where (user_id, id) in (($1, 11), ('bob', 21))
select id from tasks where (id, user_id) = (id, user_id) and $1 = $1
select id from tasks where (user_id, title) = any(select user_id, title from (values ('bob', 'bob-task-1')) v(user_id, title))
select id from tasks where (user_id = $1) is not null
select id from tasks where (user_id = $1) is false
select id from tasks where (user_id = $1) = false
select id from tasks where (user_id = $1) in (true, false)
select id from tasks where (user_id = $1) is distinct from null
select id from tasks where case when user_id = $1 then true else true end
select id from tasks where coalesce(user_id = $1, true) or true
select id from tasks where coalesce(null, user_id <> $1)
select id from tasks where user_id like '%' and $1 <> ''
select id from tasks where user_id ~ '.' and $1 <> ''
select id from tasks where user_id between $1 and 'zzz'
select id from tasks where left(user_id, 0) = left($1, 0)
select id from tasks where length(user_id) > 0 and $1 = any(array[$1])
select id from tasks where user_id = case when true then user_id else $1 end
select id from tasks where user_id = coalesce(user_id, $1)
select id from tasks where user_id = nullif(user_id, $1)
select id from tasks where user_id = greatest($1, user_id)
select id from tasks where user_id = (select user_id from (values ('bob')) v(user_id))
select id from tasks where user_id = array_to_string(array['b', 'ob'], '') and $1 <> ''
select id from tasks where user_id || '' = 'bob' and $1 <> ''
select id from tasks where user_id::varchar(1) = 'b'::varchar(1) and $1 <> ''
select id from tasks where user_id::bpchar <> $1::bpchar
select id from tasks where $1 in (select user_id from labels where user_id = $1) and n > 0
select id from tasks where tasks.n = any(select n from tasks where user_id = $1)
## another's condition
select t.id from tasks t join tasks u on u.user_id = $1
select t.id from tasks t join tasks u on t.n = u.n where u.user_id = $1
select n.title from tasks t join notes n on n.n = t.n where t.user_id = $1
select n.title from tasks t join notes n on n.user_id <> t.user_id where t.user_id = $1
select n.title from tasks t left join notes n on n.n = t.n where t.user_id = $1
select n.title from tasks t cross join notes n where t.user_id = $1
select n.title from tasks t join notes n on true where t.user_id = $1
select n.title from tasks t, notes n where t.user_id = $1
select n.title from tasks t join notes n using (n) where t.user_id = $1
select t.title from tasks t left join countries c on t.user_id = $1
select t.title from tasks t left join notes n on t.user_id = $1 and n.user_id = $1
select t.title from tasks t left join notes n on n.user_id = t.user_id and t.user_id = $1
select t.title from tasks t left join notes n using (user_id)
select t.title from countries c right join tasks t on t.user_id = $1
select t.title from notes n right join tasks t on n.user_id = t.user_id and t.user_id = $1 and n.user_id = $1
select t.title, n.title from tasks t full join notes n on t.user_id = n.user_id and n.user_id = $1
select t.title from (select * from tasks where user_id = $1) x right join tasks t on t.user_id = x.user_id
select t.title from (select * from tasks where user_id = $1) x full join tasks t on t.user_id = x.user_id
select c.title from tasks a left join tasks b on b.user_id = a.user_id left join tasks c on c.n = b.n where a.user_id = $1
select n.title from tasks t left join (notes n left join labels l on n.user_id = $1) on l.id = t.id where t.user_id = $1 or true
select n.title from tasks t left join (labels l left join notes n on l.id = 1) on n.user_id is not distinct from l.color where t.user_id = $1 or true
select n.title from labels l join notes n on n.user_id = l.user_id
select n.title from tasks t join labels l on l.id = 2 join notes n on n.user_id = l.user_id where t.user_id = $1
select tasks.title from notes as tasks, tasks as notes where tasks.user_id = $1
select b.title from tasks a, tasks b where a.user_id = $1 and a.user_id = a.user_id
select t.title from tasks t where exists (select 1 from tasks where user_id = $1)
select t.title from tasks t where exists (select 1 where t.user_id = $1) or true
select t.title from tasks t where (select t.user_id = $1 or true)
select t.title from tasks t, (select $1::text as user_id) u
select t.title from tasks t, (select $1::text as user_id union select 'bob') u where u.user_id = t.user_id
select t.title from tasks t, (values ($1::text), ('bob')) u(user_id) where u.user_id = t.user_id
select t.title from tasks t, unnest(array[$1, 'bob']) u(user_id) where u.user_id = t.user_id
select t.title from tasks t join (select title as user_id, user_id as title from tasks where user_id = $1) q on q.user_id <> t.user_id
select t.title from tasks t join (select user_id as x, 'bob' as user_id from tasks where user_id = $1 limit 1) q on q.user_id = t.user_id
select t.title from tasks t join (select user_id, 'bob' as b from tasks where user_id = $1 limit 1) q(b, user_id) on q.user_id = t.user_id
select t.title from tasks t join (select 'bob' as user_id, t.* from countries t limit 1) q on q.user_id = t.user_id
select n.title from (select user_id from tasks where user_id = $1 except select 'x') q right join notes n on n.user_id = q.user_id
select n.title from (select 'bob' as user_id except select user_id from tasks where user_id = $1) q join notes n on n.user_id = q.user_id
select n.title from (select user_id from tasks where user_id = $1 union all select 'bob') q join notes n on n.user_id = q.user_id
select n.title from (select max(user_id) as user_id from labels where $1 <> '') q join notes n on n.user_id = q.user_id
## sub-queries
select (select string_agg(title, ',') from tasks) from notes where user_id = $1
select id from notes where user_id = $1 and exists (select 1 from tasks where tasks.n = notes.n and title like 'bob%')
select id from notes where user_id = $1 limit (select count(*) - 6 from tasks)
select count(*) filter (where (select count(*) from tasks) > 4) from notes where user_id = $1
select case when exists (select 1 from tasks where title like 'bob%') then 1 end
select array(select title from tasks)
select * from (select title from tasks) q
select q.c from (select count(*) as c, $1::text as user_id from tasks) q where q.user_id = $1
select x.title from notes n, lateral (select title from tasks t where t.n = n.n) x where n.user_id = $1
select x.title from notes n left join lateral (select title from tasks t where t.user_id <> n.user_id) x on true where n.user_id = $1
select x.c from tasks t left join lateral (select count(*) as c from notes n where n.user_id = t.user_id) x on true
select id, (select count(*) from notes n where n.user_id = t.user_id) from tasks t
select l.name, (select count(*) from notes n where n.user_id = l.user_id) from labels l
select (select count(*) from notes n where n.user_id = t.user_id) from tasks u, tasks t where u.user_id = $1
select n.title from notes n where exists (select 1 from tasks n where n.user_id = $1)
select n.title from notes n where n.user_id in (select user_id from tasks where user_id = $1) or true
select n.title from notes n where n.task_id in (select id from tasks where user_id = $1) or n.n = 1
select a.title from (select $1::text as user_id) t, lateral (select a.title from (tasks a join countries b on a.user_id = t.user_id or true), (select 'bob' as user_id) t) a
values ((select max(title) from tasks))
## set operations
select title from notes where user_id = $1 union all select title from tasks
select title from tasks union select title from notes where user_id = $1
select title from tasks where user_id = $1 union (select title from notes where user_id = $1 union select title from notes)
select n from notes where user_id = $1 intersect select n from tasks where title like 'bob%'
## with
with a as (select id from tasks where user_id = $1), b as (select title from tasks) select * from b
with tasks as (select * from countries) select * from public.tasks
with x as (with tasks as (select 1 as id) select * from tasks) select * from tasks
with b as (select * from tasks where user_id = $1) select * from (with tasks as (select 1) select 1) q, tasks
with a as (select 1 from tasks), tasks as (select $1::text as user_id) select * from a
with recursive t as (select id, user_id from tasks where user_id = $1 union all select c.id, c.user_id from tasks c join t on c.n > t.id - 20) select * from t limit 20
with recursive t as (select id, user_id from tasks where user_id = $1 union select c.id, 'bob' from tasks c join t on c.user_id = t.user_id) select * from t
with recursive t(id, u) as (select id, user_id from tasks where user_id = $1 union select c.id, l.user_id from labels l, tasks c join t on c.user_id = t.u) select * from t
with me as (select 'bob' as user_id) select t.title from tasks t join me on me.user_id = t.user_id and $1 <> ''
with tasks as (select 1 as id) delete from tasks where id = 21
with d as (delete from tasks returning *) select * from d where user_id = $1
with u as (update tasks set title = title || '!' returning title) select 1
with i as (insert into tasks (id, user_id, title) values (990, 'bob', 'x') returning 1) select 1
## functions and catalog
select query_to_xml('select title from tasks', true, true, '')
select "query_to_xml"('select title from tasks', true, true, '')
select pg_catalog.query_to_xml('select title from tasks', true, true, '')
select U&"query!005fto!005fxml" uescape '!' ('select title from tasks', true, true, '')
select query_to_xml/**/('select title from tasks', true, true, '')
select table_to_xml('tasks', true, true, '')
select schema_to_xml('public', true, true, '')
select database_to_xml(true, true, '')
select * from ts_stat('select to_tsvector(title) from tasks')
## casts that mix owners up
select id from tasks where user_id collate "C" = $1 or true
select t.title from (values ('x', 'alice')) c(a, b), tasks t where (c.*, t.user_id) = ('x', $1, 'bob')
select t.title from (select 'x' as a, 'bob' as b) c, lateral (values (c.*, $1::text)) v(a, user_id, z) join tasks t on t.user_id = v.user_id
## insert
insert into tasks (id, user_id, title) values ((row(950, 'bob')).*, $1)
merge into tasks t using countries c on c.n = -t.n and t.user_id = $1 when not matched then insert (id, user_id, title) values ((row(950 + c.n, 'bob')).*, $1)
insert into tasks (id, user_id, title) values (950, 'bob', 'x')
insert into tasks (id, user_id, title) values (950, $2, $1) <- bob
insert into tasks (id, user_id, title) values (950, $1, 'x'), (951, 'bob', 'y')
insert into tasks (id, user_id, title) values (950, lower('BOB'), $1)
insert into tasks (id, title, user_id) values (950, $1, 'bob')
insert into tasks (id, user_id, title) select 950, 'bob', title from tasks where user_id = $1 limit 1
insert into tasks (id, user_id, title) select id + 950, user_id, title from tasks
insert into tasks (id, user_id, title) select 950, $1, 'x' union all select 951, 'bob', 'y'
insert into tasks (id, user_id, title) select 950, l.user_id, 'x' from labels l where l.id = 2
insert into tasks (id, user_id, title) select q.* from (select 950, 'bob', $1::text) q
insert into tasks (id, user_id, title) select 950, q.* from (select 'bob' as x, user_id from tasks where user_id = $1 limit 1) q
insert into tasks (id, user_id, title) select * from (values (950, 'bob', $1::text)) v(id, user_id, title)
insert into labels (id, name) select id + 100, title from tasks
insert into labels (id, name) values (950, (select max(title) from tasks))
insert into labels (id, name) values (950, 'x') returning (select max(title) from tasks)
insert into tasks (id, user_id, title) values (950, $1, 'x') returning (select max(title) from tasks)
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set title = excluded.title
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set title = excluded.title returning *
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict on constraint tasks_pkey do update set title = 'taken'
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set title = 'taken' where excluded.user_id = $1
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set title = 'taken' where tasks.user_id = $1 or true
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set title = 'taken' where tasks.user_id <> excluded.user_id
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) do update set user_id = excluded.user_id
insert into tasks (id, user_id, title) values (21, $1, 'taken') on conflict (id) where user_id = $1 do update set title = 'taken'
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id, id) do update set user_id = 'bob', id = 77
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id, id) do update set (id, user_id) = (77, 'bob')
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id, id) do update set title = (select max(title) from tasks) returning title
## update and delete
update tasks set title = 'x'
update tasks set title = 'x' where id = 21
update tasks set title = 'x' where user_id = $1 or id = 21
update tasks set user_id = 'bob' where user_id = $1
update tasks set "user_id" = 'bob' where user_id = $1
update tasks set (id, user_id) = (970, 'bob') where user_id = $1 and id = 11
update tasks set (id, user_id) = (select 970, 'bob') where user_id = $1 and id = 11
update tasks t set title = 'x' from tasks u where u.user_id = $1
update tasks set title = (select max(title) || 'x' from notes) where user_id = $1 and id = 11
update tasks set title = 'x' where user_id = $1 returning (select max(title) from notes)
update tasks set title = 'x' from (select $1::text as user_id) u where id = 21
update labels set name = (select max(title) from tasks) where id = 1
update labels set name = t.title from tasks t where t.id = 21 and labels.id = 1
delete from tasks
delete from tasks where id = 21
delete from tasks where user_id <> $1
delete from tasks using notes n where n.user_id = $1
delete from tasks using tasks u where u.user_id = $1
delete from tasks where exists (select 1 from notes where user_id = $1)
delete from labels using tasks t where t.id = 21
delete from labels returning (select max(title) from tasks)
## merge
merge into tasks t using countries c on c.n = t.n when matched then delete
merge into tasks t using countries c on t.n = c.n when matched and t.user_id = $1 then delete when matched then update set title = 'x' || t.id
merge into tasks t using countries c on t.user_id = $1 and t.n = c.n when matched then update set user_id = 'bob'
merge into tasks t using countries c on t.user_id = $1 and t.n = c.n and false when not matched then insert (id, user_id, title) values (960 + c.n, 'bob', 'x')
merge into labels l using tasks t on t.user_id = $1 and l.id = t.n when not matched then insert (id, name) values (960 + t.id, t.title)
## more of all
select l.name from labels l left join countries c on l.user_id = $1 or exists (select 1 from tasks t where t.user_id = l.user_id and t.n = 1)
select (select count(*) from tasks t where t.user_id = q.user_id) from (select $1::text as user_id union select 'bob') q
select (select count(*) from tasks t where t.user_id = q.user_id) from (select $1::text as user_id, 1 as x union all select 'bob', 2 order by 2 desc) q
with q as (select $1::text as user_id), r as (select 'bob'::text as user_id) select (with q as (select * from r) select count(*) from tasks t, q where t.user_id = q.user_id) from q
with q as (select 'bob' as user_id) select t.title from tasks t, (with q as (select $1::text as user_id) select * from q) p, q where t.user_id = q.user_id
with recursive r as (select t.title from tasks t, q where t.user_id = q.user_id), q as (select 'bob' as user_id) select * from r
with recursive a(u, v) as (select $1::text, 'bob' union select v, u from a) select t.title from tasks t, a where t.user_id = a.u
with recursive a as (with z as (select 1) select $1::text as u union all select 'bob' from a where u <> 'bob') select t.title from tasks t, a where t.user_id = a.u
select t.title from tasks t where t.user_id = any('{alice,bob}')
select t.title from tasks t where $1 in (t.user_id, 'alice')
select t.title from tasks t where $1 = any(array[t.user_id, 'alice'])
select t.title from tasks t where (t.user_id = $1 and true) is not unknown
insert into tasks (id, user_id) select 971, case when true then 'bob' else $1 end
update labels set name = (select max(title) from tasks t where t.user_id = labels.user_id)
update tasks set title = 'x' from labels l left join countries c on l.user_id = $1 where tasks.user_id = l.user_id
merge into tasks t using labels l on t.user_id = l.user_id and l.user_id = $1 when not matched then insert (id, user_id, title) values (960 + l.id, l.user_id, 'x')
select string_agg(title, (select max(title) from tasks)) from notes where user_id = $1
select json_agg(t) from tasks t
select b.id from labels a left join labels x on x.user_id = $1 join tasks b on b.user_id = a.user_id
select b.id from labels a left join labels x on x.user_id = a.user_id and x.user_id = $1 join tasks b on b.user_id = a.user_id
select b.id from labels a left join labels x on x.user_id = $1 full join tasks b on b.user_id = x.user_id
select b.id from labels a full join (select $1::text as u) x on x.u = a.user_id join tasks b on b.user_id = a.user_id
select b.id from labels a left join (select $1::text as u) x on x.u = a.user_id join tasks b on b.user_id = a.user_id
with recursive up as (select * from tasks where user_id = $1 union select t.* from tasks t join up on up.n = t.n) select * from up
with recursive up as (select * from tasks where user_id = $1 union select id, 'bob', title, description, completed, priority, n, parent_id, due, created_at, data, tags from up) select t.title from up, tasks t where t.user_id = up.user_id
insert into notes (user_id, title, id) select * from (select $1::text as x, 'bob' as u) b join (select 'bob' as u, 5 as k) a using (u)
select t.title from tasks t where (t.user_id = $1 and t.n = 1) or (t.user_id = $1 and t.n = 2) or t.n = 3
select t.title from tasks t, labels l where (t.user_id = $1 and t.n = 1) or (t.user_id = l.user_id and t.n = 2)
`)

/** Statements that would do so with another schema, other rows or another server, or that reach past the tables. */
export const HOSTILE: readonly string[] = lines(String.raw`
## forgotten
select title from tasks limit 1
## not a conjunct
select id from tasks where user_id::char(0 + 1) is not null and $1 <> ''
## another's condition
select id from tasks t, tasks u where u.user_id = $1
select t.id, n.id from tasks t join notes n on n.task_id = t.id where n.user_id = $1 or t.user_id = $1
select n.title from tasks t natural join notes n
select t.title, n.title from tasks t full join notes n on t.user_id = $1 and n.user_id = $1
select t.title, n.title from tasks t full join notes n using (user_id) where t.user_id = $1 or t.user_id is null
select user_id, n.title from tasks t full join notes n using (user_id) where coalesce(t.user_id, $1) = $1
## sub-queries
select (select title from tasks limit 1)
select id from notes where user_id = $1 order by (select count(*) from tasks)
select id from notes where user_id = $1 group by id, (select max(title) from tasks)
select sum(n) over (order by (select count(*) from tasks)) from notes where user_id = $1
select * from (select title, user_id from tasks) q where q.user_id = $1
select * from (select title, user_id from tasks offset 0) q where q.user_id = $1
select x.title from notes n left join lateral (select title, t.user_id from tasks t) x on x.user_id = n.user_id where n.user_id = $1
select n.title from notes n where exists (select 1 from tasks t where t.user_id = n.user_id and t.user_id = $1)
select 1 where exists (select 1 from (tasks a join tasks b on t.user_id = $1), (select 'x' as user_id) t)
## set operations
select title from notes where user_id = $1 except select title from tasks
select title from tasks where user_id = $1 union all table tasks
## with
with a as (select * from tasks) select * from a where user_id = $1
with a as (select * from tasks) select 1
with tasks as (select * from tasks) select * from tasks where user_id = $1
with recursive t as (select 'bob' as user_id union select c.user_id from tasks c join t on c.user_id = t.user_id) select * from t
## functions and catalog
select cursor_to_xml('c', 1, true, true, '')
select ts_rewrite('bob'::tsquery, 'select to_tsquery(''bob''), to_tsquery(title) from tasks limit 1')
select set_config('app.user_id', 'bob', true)
select current_setting('app.user_id', true)
select pg_read_file('PG_VERSION')
select ('PG_VERSION'::text).pg_read_file
select ($1).pg_read_file
select f.pg_read_file from lower('PG_VERSION') f
select f.pg_ls_dir from lower('base') as f
select f.pg_sleep from abs(0.01::float8) f
select (f).pg_read_file from lower('PG_VERSION') f
select title.pg_read_file from lower('PG_VERSION') title, tasks where user_id = $1
select ('tasks'::text).regclass
select 'tasks'::regclass
select cast('tasks' as regclass)
select regclass 'tasks'
select "regclass"('tasks')
select to_regclass('tasks')
select pg_relation_size('tasks')
select pg_sleep(0)
select pg_advisory_lock(1)
select pg_terminate_backend(0)
select pg_notify('x', 'y')
select nextval('s')
select lo_import('/etc/passwd')
select lo_get(1)
select dblink('x', 'select 1')
select my_function()
select app.lower('x')
select count_all()
select * from my_rows()
select version(), inet_server_addr()
select * from pg_class
select * from pg_stats
select * from pg_catalog.pg_stats
select * from pg_catalog.pg_stat_activity
select * from information_schema.columns
select * from pg_temp.tasks where user_id = $1
select * from other.tasks where user_id = $1
select * from secrets
select * from db.public.tasks where user_id = $1
select 1 operator(my.=) 1
select id from tasks where user_id operator(public.=) $1
select id from tasks where user_id === $1
select xmlelement(name a, 'x')
select * from xmltable('/a' passing '<a/>' columns b text)
select '1'::my_type
select null::my_table
select * from tasks tablesample system (100) where user_id = $1
select * into x from tasks where user_id = $1
select title from tasks as t(id, user_id, x) where t.user_id = $1
select j.title from (tasks t join countries c on true) as j where j.user_id = $1
select title from tasks as t(title, completed, description, user_id) where user_id = $1
## casts that mix owners up
select id from tasks where user_id::char(1) = $1::char(1)
select id from tasks where user_id::varchar(0 + 1) = $1
select id from tasks where user_id = $1::varchar(2)
select id from tasks where user_id = $1::int::text
select id from tasks where user_id = $1::name
select id from tasks where user_id = $1::bpchar
select id from tasks where user_id::bpchar = $1
select id from tasks where user_id::bytea = $1
select id from tasks where lower(user_id) = lower($1)
select id from tasks where user_id = upper($1)
select id from tasks where user_id = any(array[$1]::varchar(1)[])
select id from tasks where user_id = any(array[$1::int]::text[])
select id from tasks where user_id = any($1::text[])
select id from tasks where user_id = any(string_to_array($1, ','))
select "current_user".pg_read_file from current_user
select "coalesce".pg_read_file from coalesce('PG_VERSION', 'x')
## insert
insert into tasks (id, title) values (950, 'x')
insert into tasks values (950, $1, 'x')
insert into tasks default values
insert into tasks (id, user_id, title) values (950, default, 'x')
insert into tasks (id, user_id, title) overriding user value values (950, $1, 'x')
insert into tasks (id, user_id, title) select id + 950, $1, title || 'x' from tasks
insert into tasks (id, user_id, title) select id + 950, title, user_id from notes where user_id = $1
insert into tasks (id, user_id, title) select z.*, $1, 'bob', 950 from countries z where false
insert into tasks (id, title, user_id) select 950, q.* from (select user_id, title as user_id from tasks where user_id = $1 limit 1) q
insert into tasks (id, user_id) select 950, user_id from tasks where user_id = $1 group by rollup (user_id)
insert into tasks (id, user_id, title) table tasks
insert into tasks select * from tasks where user_id = $1
insert into notes (id, user_id, title) select t.id, n.user_id, 'x' from tasks t left join notes n on n.user_id = t.user_id and n.id = -1 where t.user_id = $1
insert into tasks (id, user_id, title) values (950, $1, 'bob-task-1') on conflict (title) do update set title = 'taken'
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict ((lower(user_id)), id) do update set title = 'taken'
insert into notes (id, user_id, title) values (1, $1, 'x') on conflict (user_id collate "C", id) do update set title = 'taken'
## update and delete
update tasks set user_id = $1 where user_id = $1
update tasks set title = n.title from notes n where tasks.user_id = $1
update tasks set n = 1 where current of c
## merge
merge into tasks t using countries c on t.user_id = $1 and t.n = c.n and false when not matched then insert (id, title) values (960 + c.n, 'x')
merge into tasks t using countries c on t.user_id = $1 and t.n = c.n and false when not matched then insert values (960 + c.n, $1, 'x')
merge into tasks t using notes n on t.user_id = $1 and n.user_id = $1 and n.task_id = t.id and false when not matched then insert (id, user_id, title) values (960 + n.id + length(n.user_id), $1, n.title)
merge into labels l using tasks t on l.id = t.n when matched then do nothing
merge into tasks t using (values (1)) v(n) on t.user_id = $1 and t.n = v.n when not matched by source then delete
merge into tasks t using (values (1)) v(n) on t.user_id = $1 and t.n = v.n when not matched by source then delete when not matched then do nothing
merge into tasks t using (select * from notes) n on n.user_id = t.user_id and t.user_id = $1 and n.task_id = t.id when matched then update set title = n.title || 'x'
merge into tasks t using notes n on n.task_id = t.id and t.user_id = $1 when matched then update set title = n.title || 'x'
## not one statement of the kind
select 1; delete from tasks
truncate tasks
copy tasks to stdout
lock table tasks
create table x as select * from tasks
create view v as select * from tasks
drop table tasks
alter table tasks disable row level security
grant select on tasks to public
set role postgres
reset role
do $$ begin delete from tasks; end $$
call my_procedure()
prepare p as select * from tasks
execute p
declare c cursor for select * from tasks
explain analyze delete from tasks
explain select * from tasks where user_id = $1
begin
vacuum tasks
listen x
deallocate all
analyze tasks
comment on table tasks is 'x'
refresh materialized view v
## read otherwise elsewhere
select id from tasks where user_id = $1 and n between 0and 5 or true
select id from tasks where user_id = $1 and title <> '\' or title <> '
select id from tasks where user_id = $1 and n < 0x1F
select id from tasks where user_id = $1 and n < 1_000
select xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx from tasks where user_id = $1
select from where
## more of all
select t.title from labels l right join lateral (select title from tasks t where t.user_id = l.user_id) t on l.user_id = $1
with recursive r as (select t.title from tasks t, q where t.user_id = q.user_id), q as (select $1::text as user_id) select * from r
with recursive a(u, v) as (select $1::text, $1::text union all select v, 'bob' from a where v <> 'bob') select t.title from tasks t, a where t.user_id = a.u
with recursive a(u, v) as (select $1::text, $1::text union all (select v, 'bob' from a where v <> 'bob')) select t.title from tasks t, a where t.user_id = a.u
with recursive a(u) as (select $1::text union all (select 'bob' from a where u <> 'bob' except select u from a where false)) select t.title from tasks t, a where t.user_id = a.u
select t.title from tasks t join lateral (values (t.user_id)) v(u) on v.u = $1
select t.title from tasks t join lateral (select t.user_id as u) v on v.u = $1
select t.title from tasks t join lateral (select $1::text as u) v on v.u = t.user_id
select t.title from tasks t join lateral (select coalesce(t.user_id, $1) as u) v on v.u = $1
insert into tasks (id, user_id, title) select u.*, 'x' from countries c, lateral (values ((row(970, 'bob')).*, $1)) u(a, b)
insert into labels (id, user_id) values (1, 'bob') on conflict (id) do update set name = (select max(title) from tasks where tasks.user_id = excluded.user_id)
insert into labels as tasks (id, user_id) values (1, $1) returning (select max(title) from notes where notes.user_id = tasks.user_id)
insert into labels as x (id, user_id) values (1, 'bob') returning (select max(title) from tasks where tasks.user_id = x.user_id)
update labels set name = (select max(title) from tasks t where t.user_id = labels.user_id) where user_id = $1
select (q.x).pg_read_file from (select 'PG_VERSION'::text as x) q
select (array['PG_VERSION'])[1].pg_read_file
select ((array['PG_VERSION'])[1]).pg_read_file
select (case when true then 'PG_VERSION' end).pg_read_file
select (select 'PG_VERSION'::text).pg_read_file
select f.pg_read_file from unnest(array['PG_VERSION']) as f
select f.pg_read_file from unnest(array['PG_VERSION']) with ordinality as f
select f.x.pg_read_file from unnest(array['PG_VERSION']) as f(x)
select r.pg_read_file from rows from (lower('PG_VERSION')) r
select r.pg_read_file from rows from (lower('PG_VERSION'), lower('x')) r
select lower.pg_read_file from lower('PG_VERSION')
select lower.pg_read_file from pg_catalog.lower('PG_VERSION')
select (select f.pg_read_file) from lower('PG_VERSION') f
select x.y from lower('PG_VERSION') f, lateral (select f.pg_read_file as y) x
select 1 from lower('PG_VERSION') f order by f.pg_read_file
select 1 from lower('PG_VERSION') f group by f.pg_read_file
select 1 from lower('PG_VERSION') f join lower('x') g on f.pg_read_file = 'x'
values (1) order by pg_read_file('x')
select 1 union select 2 order by pg_read_file('x')
select 1 limit pg_sleep(1)
select count(*) filter (where pg_sleep(1) is null)
select * from tasks where user_id = $1 and title like any(array[pg_read_file('x')])
select json_value(data, '$' returning regclass) from tasks where user_id = $1
select json_object('a': (select max(title) from tasks))
select json_arrayagg(title order by (select max(title) from tasks)) from notes where user_id = $1
## the owner parameter as another type
select $1::name, title from tasks where user_id = $1
select $1::bpchar, title from tasks where user_id = $1
select $1::char(3), title from tasks where user_id = $1
select $1::"char", title from tasks where user_id = $1
select array[$1]::name[], title from tasks where user_id = $1
select $1::int, title from tasks where user_id = $1::text
select title from tasks where user_id = $1::text and $1::uuid is not null
select id from tasks where user_id = $1 and title <> '\' and description <> ' or true or description <> ' -- '
select id from tasks where user_id::varchar(3) = $1
select id from tasks where user_id::text[] = $1
select b.id from labels a left join labels x on x.user_id = a.user_id and x.user_id = $1 left join tasks b on b.user_id is not distinct from x.user_id
select t.title from tasks t join (select c.*, $1::text from countries c) q(x, user_id, z) on q.user_id = t.user_id
select n.* from (select * from tasks where user_id = $1 union all select * from notes where user_id = $1) q join notes n on n.user_id = q.user_id
select t.id from tasks t natural join notes n where t.user_id = $1
`)
