"""The laws of `submit.aliases`: who gets the mail of local names, and what files may say so."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.errors import AddressError, ConfigError, NoMailbox, TryAgain
from smartrelay.mail.address import canonical
from smartrelay.settings import Settings, own_names
from smartrelay.submit.aliases import Expansion, items, parse
from smartrelay.submit.completion import is_local
from tests.support.queues import few, many

HOST, DOMAIN = "host.example.org", "example.org"


class Site:
    """A host with a file of aliases of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings()
        self.settings.hostname, self.settings.domain = HOST, DOMAIN
        self.settings.own_names = own_names(HOST, DOMAIN)
        self.settings.file = "/etc/smartrelay/smartrelay.toml"
        self.settings.aliases = str(folder / "aliases")

    def write(self, text: str, name: str = "aliases") -> str:
        path = self.folder / name
        path.write_text(text.replace("$", str(self.folder)))
        path.chmod(0o644)
        return str(path)

    def of(self, *recipients: str) -> list[str]:
        """Who gets the mail of one or several, each once."""
        one = Expansion(self.settings)
        return list(dict.fromkeys(found for recipient in recipients for found in one.of(recipient)))

    def refused(self, *recipients: str, kind: type[ConfigError | TryAgain] = ConfigError) -> str:
        with pytest.raises(kind) as caught:
            self.of(*recipients)
        sentence = str(caught.value)
        assert sentence.isprintable() and sentence.isascii()
        return sentence


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# Whose mail is local


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("root", True),
        ('"john doe"', True),
        ('"a@b"', True),
        ("root@localhost", True),
        ("root@LocalHost.localdomain", True),
        ("root@Host.Example.ORG", True),
        ("root@example.org", False),
        ("root@other.example.org", False),
        ("root@[127.0.0.1]", False),
        ("root@localhost.example", False),
    ],
)
def test_local_is_what_has_no_domain_or_that_of_this_host(site: Site, address: str, local: bool) -> None:
    assert is_local(address, site.settings) is local


def test_the_name_of_a_host_that_may_be_peoples_domain_is_not_local() -> None:
    """A host called example.org: joe@example.org has a mailbox elsewhere, and his mail is not the postmaster's."""
    assert "example.org" not in own_names("example.org", "org")
    assert "example.org" not in own_names("example.org", "Example.org")
    assert "host.example.org" in own_names("host.example.org", "example.org")
    assert "web.internal" not in own_names("web.internal", "internal")
    assert "web.internal" in own_names("web.internal", "example.org")


# Without a file, or without an alias


def test_local_mail_without_an_alias_is_the_postmasters(site: Site) -> None:
    site.settings.postmaster = "admin@Example.com"
    assert site.of("root") == ["admin@Example.com"]
    site.write("joe: joe@x.example\n")
    assert site.of("root", "joe", "www@localhost", f"news@{HOST}") == ["admin@Example.com", "joe@x.example"]
    assert site.of("far@b.example") == ["far@b.example"]


def test_without_a_postmaster_a_domain_that_was_set_completes_it(site: Site) -> None:  # D-070 B-027
    site.settings.has_domain = True
    assert site.of("root", "Bob@localhost", '"a b"') == ["root@example.org", "Bob@example.org", '"a b"@example.org']


@pytest.mark.parametrize("postmaster", ["", "admin", "admin@localhost", "not an address", "admin@host.example.org"])
def test_mail_that_nobody_would_get_is_refused_with_what_to_configure(site: Site, postmaster: str) -> None:
    """Never queued to fail later: also where `postmaster` names nobody that mail can be sent to."""
    site.settings.postmaster = postmaster
    sentence = site.refused("far@b.example", "root", kind=NoMailbox)
    for word in ("'root'", f"`root: you@example.org` in {site.settings.aliases}", "postmaster = ", site.settings.file):
        assert word in sentence


# The file


def test_comments_continuations_quotes_and_lists_are_read_as_aliases_5_has_them(site: Site) -> None:
    text = (
        "# a comment\n\n  # another\nroot: a@x.example, b@x.example\nlist:\ta@x.example,\n\tb@x.example,\n# between\n\n"
        ' c@x.example\n"John Doe": j@x.example\n"with:colon": k@x.example\nno alias\nroot: second@x.example\n'
        'names: "Doe, J" <d@x.example>, e@x.example (E, the first)\r\nempty:\n: nobody@x.example\n'
    )
    found = parse(text, "/a")
    assert found["root"] == ("a@x.example, b@x.example", "/a, line 4")
    assert found["list"] == ("a@x.example, b@x.example, c@x.example", "/a, line 5")
    assert set(found) == {"root", "list", "john doe", "with:colon", "names", "empty"}
    site.write(text)
    assert site.of("ROOT") == ["a@x.example", "b@x.example"]
    assert site.of('"john doe"', '"with:colon"') == ["j@x.example", "k@x.example"]
    assert site.of("names") == ["d@x.example", "e@x.example"]


def test_an_alias_may_lead_on_and_everybody_is_named_once_where_he_comes_first(site: Site) -> None:  # D-074
    site.write("postmaster: root\nroot: admin, far@x.example\nadmin: Joe@X.example, bob@localhost\nbob: joe@x.example\n")
    assert site.of("a@b.example", "root", "far@x.example") == ["a@b.example", "Joe@X.example", "joe@x.example", "far@x.example"]
    assert site.of("far@x.example", "postmaster", "root") == ["far@x.example", "Joe@X.example", "joe@x.example"]


def test_the_catch_all_takes_every_name_that_has_no_alias(site: Site) -> None:
    site.write("*: all@x.example\nroot: me@x.example\nlead: nobody-knows, nor-her\n")
    assert site.of("root", "www", f"news@{HOST}", "lead") == ["me@x.example", "all@x.example"]
    site.write("*: admin\n")
    site.settings.postmaster = "p@x.example"
    assert site.of("www") == ["p@x.example"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("root: root, me@x.example\n", ["me@x.example"]),  # a copy in a mailbox that is not here
        ("root: \\root, me@x.example\n", ["me@x.example"]),
        ("root: a, me@x.example\na: b\nb: a, root\n", ["me@x.example"]),
        ("root: \\joe, me@x.example\njoe: j@x.example\n", ["post@x.example", "me@x.example"]),
        ("root: \\far@x.example\n", ["far@x.example"]),
    ],
)
def test_of_a_copy_that_a_name_keeps_for_itself_nothing_comes(site: Site, text: str, found: list[str]) -> None:
    site.settings.postmaster = "post@x.example"
    site.write(text)
    assert site.of("root") == found


@pytest.mark.parametrize("text", ["root: root\n", "root: \\root\n", "root: a\na: b\nb: root\n", "root:\n", "root: ,\n"])
def test_an_alias_that_leads_to_nobody_is_as_good_as_none(site: Site, text: str) -> None:
    site.write(text)
    assert "'root'" in site.refused("root", kind=NoMailbox)
    site.settings.postmaster = "post@x.example"
    assert site.of("root") == ["post@x.example"]


def test_a_name_in_a_circle_has_what_the_others_have(site: Site) -> None:
    site.write("a: b, x@x.example\nb: a\n")
    assert site.of("a") == site.of("b") == site.of("a", "b") == site.of("b", "a") == ["x@x.example"]


def test_many_aliases_that_lead_to_each_other_end(site: Site) -> None:
    names = [f"a{number}" for number in range(40)]
    site.write("".join(f"{name}: {', '.join(names)}\n" for name in names))
    assert "circle" in site.refused("a0", kind=NoMailbox)


def test_a_way_through_very_many_aliases_is_refused_and_no_bug(site: Site) -> None:
    site.write("".join(f"a{number}: a{number + 1}\n" for number in range(2000)) + "a2000: x@x.example\n")
    assert "more than 50" in site.refused("a0")
    assert site.of("a1960") == ["x@x.example"]


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ("|/usr/bin/prog arg", "program"),
        ('"|/usr/bin/prog a, b"', "program"),
        ("/var/mail/root", "file"),
        ("/dev/null", "file"),
        (":blackhole:", "blackhole"),
        ("a b@x.example", "cannot be read"),
        ("me@x.example # me", "cannot be read"),
        ('"open', "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_place_and_only_for_who_is_meant(site: Site, item: str, word: str) -> None:
    site.write(f"\njoe: joe@x.example\nroot: ok@x.example, {item}\n")
    sentence = site.refused("far@x.example", "root")
    assert word in sentence and f"{site.settings.aliases}, line 3" in sentence and "'root'" in sentence
    assert site.of("joe") == ["joe@x.example"]


# Included lists


def test_a_list_is_included_with_its_comments_names_and_lists(site: Site) -> None:
    site.write('team: :include:$/list, z@x.example\nother: ":INCLUDE:$/a, b"\njoe: j@x.example\n')
    site.write("# the team\n\na@x.example, Joe Doe <b@x.example>\njoe\n:include:$/inner\n", "list")
    site.write("c@x.example\n:include:$/list\n", "inner")
    site.write("q@x.example", "a, b")
    assert site.of("team") == [f"{name}@x.example" for name in "abjcz"]
    assert site.of("other") == ["q@x.example"]


def test_what_is_wrong_with_a_list_names_it(site: Site) -> None:
    site.write(
        "gone: :include:$/gone\npipe: :include:$/pipe\nfolder: :include:$\nrelative: :include:list\nbad: :include:$/bad\n"
        "nul: :include:$/n\0\n"
    )
    os.mkfifo(site.folder / "pipe")
    site.write("ok@x.example\n|prog\n", "bad")
    assert "no such file" in site.refused("gone")
    assert "not a file" in site.refused("pipe")
    assert "not a file" in site.refused("folder")
    assert "absolute" in site.refused("relative")
    assert "absolute" in site.refused("nul")
    assert f"{site.folder}/bad, line 2" in site.refused("bad")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_what_others_may_write_is_not_read(site: Site, mode: int) -> None:
    """Neither the aliases nor a list: who can change them has everybody's mail."""
    site.write("team: :include:$/list\n")
    site.write("a@x.example\n", "list")
    (site.folder / "list").chmod(mode)
    assert "chmod go-w" in site.refused("team")
    (site.folder / "aliases").chmod(mode)
    assert "chmod go-w" in site.refused("root")
    assert site.of("far@x.example") == ["far@x.example"]


def test_a_list_in_a_place_that_others_may_change_is_not_read(site: Site) -> None:
    (site.folder / "open").mkdir()
    site.write("team: :include:$/open/list\nlink: :include:$/link\nway: :include:$/way/list\n")
    site.write("a@x.example\n", "open/list")
    (site.folder / "open").chmod(0o777)
    assert f"{site.folder}/open" in site.refused("team")
    (site.folder / "open").chmod(0o1777)  # as /tmp is: nobody can put another file in its place
    assert site.of("team") == ["a@x.example"]
    (site.folder / "link").symlink_to(site.folder / "open" / "list")
    (site.folder / "way").symlink_to(site.folder / "open")
    assert "symbolic link" in site.refused("link")
    assert "symbolic link" in site.refused("way")


@pytest.mark.as_another_user
def test_a_users_list_is_not_followed_by_root(site: Site) -> None:
    """Whatever it leads to: with a link to a file that only root may read, a part of that would be told."""
    home = site.folder / "joe"
    home.mkdir()
    site.write("team: :include:$/joe/list\n")
    site.write("a@x.example\n", "joe/list")
    os.chown(home / "list", 4321, 4321)
    assert "uid 4321" in site.refused("team")
    os.chown(home / "list", 0, 0)
    os.chown(home, 4321, 4321)
    assert f"{home} belongs to uid 4321" in site.refused("team")
    os.chown(site.folder / "aliases", 4321, 4321)
    assert "uid 4321" in site.refused("root")


def test_the_aliases_may_be_a_link_and_need_not_be_there(site: Site) -> None:
    site.write("root: a@x.example\n", "mail-aliases")
    (site.folder / "aliases").symlink_to(site.folder / "mail-aliases")
    assert site.of("root") == ["a@x.example"]
    site.settings.aliases = str(site.folder / "none")
    assert "no alias" in site.refused("root", kind=NoMailbox)


def test_aliases_that_cannot_be_read_now_are_no_reason_to_send_mail_elsewhere(site: Site) -> None:
    site.settings.postmaster = "post@x.example"
    site.settings.aliases = f"{site.write('a: b')}/aliases"
    site.refused("root", kind=TryAgain)


# Any file


PIECES = st.sampled_from(
    ["root", "joe", "*", ":", ": ", "\n", "\n", " ", "\t", ",", '"', "\\", "(", ")", "<", ">", "#", "@x.example", "a@b",
     "|x", "/f", ":include:", "/nowhere", "\r", "\0", "\udcff", "ä", "\n\n", "\\root", "root\n", "root:"]
)  # fmt: skip


@many
@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Every name of it ends: in addresses that mail can be sent to, or in one sentence."""
    site = Site(tmp_path_factory.getbasetemp())
    site.folder.chmod(0o700)
    path = Path(site.settings.aliases)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    site.settings.postmaster = "post@x.example"
    for name in ["root", "joe", "*x", *parse(text, "/a")]:
        try:
            found = site.of(canonical(name) if name.isprintable() and "@" not in name and '"' not in name else "root")
        except (ConfigError, TryAgain, AddressError) as error:
            assert str(error).isprintable()
            continue
        assert found
        for address in found:
            assert canonical(address) == address and not is_local(address, site.settings)


WORDS = st.text(st.sampled_from("abz09.-"), min_size=1, max_size=5).filter(lambda text: "" not in text.split("."))


@few
@given(st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=6), st.booleans())
def test_any_graph_of_names_leads_to_all_that_it_reaches(
    tmp_path_factory: pytest.TempPathFactory, graph: dict[str, list[str]], folded: bool
) -> None:
    """The addresses of a name are those at the ends of all ways from it."""
    site = Site(tmp_path_factory.getbasetemp())
    site.folder.chmod(0o700)
    comma = ",\n\t" if folded else ","
    lines = [f"{name}: {comma.join([*others, f'{name}@x.example'])}" for name, others in graph.items()]
    site.write("\n".join(lines))
    site.settings.has_domain = True
    start = next(iter(graph))
    reached, todo = {start}, [start]
    while todo:
        for other in graph.get(todo.pop(), []):
            if other not in reached:
                reached.add(other)
                todo.append(other)
    wanted = {f"{name}@x.example" if name in graph else f"{name}@example.org" for name in reached}
    assert set(site.of(start)) == wanted


@given(st.lists(st.sampled_from(["a@x", '"q, r" <b@x>', "(c, d)e@x", "<f@x>", '"|x, y"', "\\g"]), max_size=6))
def test_items_are_parted_at_commas_only(parts: list[str]) -> None:
    assert items(" , ".join(parts)) == parts
