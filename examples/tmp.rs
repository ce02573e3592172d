fn main() {
    let mut file = benchinf::result::read("tests/data/results/valid/v1.1.json".as_ref()).unwrap();
    file.format_version = benchinf::result::FORMAT_VERSION;
    std::fs::write("tests/data/results/valid/v1.2.json", benchinf::result::seal(&mut file, None)).unwrap();
}
